"""Hands in photos: crops for the network, and what it says in the photo's own pixels."""
