"""The stand-in hand: a procedural hand in MANO's file format, for use before MANO is there."""

from .build import build_standin, standin_path

__all__ = ["build_standin", "standin_path"]
