"""Make the card of the weights that ship, and its pictures: python docs/make_card.py

The card tells how they were trained (``handlib/weights/card.json``) and what they score on hands
that are rendered here and that no training saw.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from handlib import analysis, metrics, plots
from handlib.checkpoints import load_checkpoint
from handlib.data import load_backgrounds
from handlib.data.bodies import body_part
from handlib.data.synthesize import one_thread
from handlib.evaluation import handedness_scores, in_the_mirror, predict, score_each
from handlib.geometry import box_overlap, tight_box
from handlib.inference import Predictor, made_up_photos
from handlib.inference.examples import SIZE
from handlib.inference.find import OVERLAP
from handlib.mano import load_hand_model, pose_hand
from handlib.paths import SHIPPED
from handlib.stream_training import HELD_OUT_SEED, held_out_set, read_card

HANDS, PHOTOS = 2000, 48
TIMED = 256  # of these hands
TABLE = {
    "pa_mpjpe_mm": "PA-MPJPE, mm",
    "pa_mpvpe_mm": "PA-MPVPE, mm",
    "mpjpe_root_mm": "root-relative error, mm",
    "error_2d_px": "2D error, px of the {size} px crop",
    "pa_f_5mm": "F@5 mm",
    "pa_f_15mm": "F@15 mm",
    "handedness_accuracy": "right or left told, by the hand and its mirror image",
    "handedness_accuracy_one_view": "right or left told by one look",
}
CARD = """# The weights that come with handlib

A network for hands in photos, trained on nothing but handlib's own generator: no photo, no licensed
data and no licensed hand model is in it. `handlib predict PHOTO` and the notebooks use it.

- **Network**: preset `{preset}`, {parameters:.1f} million parameters, {size} px, in half precision
  ({megabytes:.1f} MB). It looks twice: once to find the hand, then at the hand upright,
  which then is moved onto the joints that it found.
- **Hand**: {hand}; its joints are FreiHAND's, its mesh has MANO's layout and not MANO's shape.
- **Training**: {images:.2f} million pictures in {n} pieces ({minutes:.0f} minutes in all). About
  {rendered:.2f} million were rendered, the others are these again, transformed anew (`--repeat`).
- **Licence**: as handlib's (MIT).
- **Command** of a piece, with its numbers below (on a CPU add `--processes 2 --threads 1`):
  `handlib train FOLDER --minutes M --start shipped --batch-size B --lr R`, on a GPU with
  `--repeat N --workers W`; then copy `FOLDER/weights` here and run `python docs/make_card.py`.

| piece | pictures | shown | minutes | batch | optimizer | top rate | weights | machine | PA-MPJPE |
|---|---:|---:|---:|---:|---|---:|---:|---|---:|
{pieces}

The last column is of 512 held-out hands, rendered by the generator of the piece, as the network
answered when it ended: before the sixth without refinement, before the seventh without looks from
other sides. The tenth was stopped while its rate was high. Losses: up to there by the factors for
random weights, from the eleventh on by `losses.OF_TRAINED` ([why](../../docs/modern.md), and
`card.json` has them). A mean of the weights of several pieces, where there is one, is what the
next piece began with, or what ships (`handlib average FOLDER WEIGHTS WEIGHTS`). A network of more
weights began as the one before it, with further layers that passed on what they got.

## What they score

{hands:,} rendered hands that no training saw (all views, wide articulation, objects in the hand):

| | these weights | mean pose |
|---|---:|---:|
{scores}

![Errors of groups of hands](../../docs/card_groups.jpg)
![The best, the median and the worst](../../docs/card_examples.jpg)

What the ways to look are worth, on the same hands (a core's milliseconds a hand, in single
precision):

| | PA-MPJPE | root-relative | 2D error | ms |
|---|---:|---:|---:|---:|
{ways}

Without a box, `predict` found {found:.0%} of the hands in {photos} rendered photos (320 px, the
hand 0.3 to 0.7 of that), and in each {others:.2f} places that are not that hand, parts of other
hands among them; in {photos} with a head or a limb in the hand's place {false:.2f} a photo.

How often they fail, by rule (`handlib.analysis`): {failures}.

## Limits

- Measured on renderings only. On photos expect worse; `handlib predict --boxes` scores a file of
  photos with 2D keypoints.
- The depth of a single hand is a guess unless K is known, and its size is an average hand's.
- One hand in a crop. Two hands that hold each other, gloves and tattoos were never shown.
- A hand that points at the camera, or hides most of its fingers, is guessed from what is left.
"""


# name -> what ``ModelConfig`` says: each has what the one before it has, and more.
WAYS = {
    "one look": {"looks": 1, "turns": 1, "refine": 0},
    "a second look, at the hand upright": {"turns": 1, "refine": 0},
    "from all sides, where it is not sure": {"refine": 0},
    "moved onto the joints found: as shipped": {},
}


def main():
    matplotlib.use("agg")
    hand = load_hand_model("")
    model = load_checkpoint(SHIPPED, hand)
    size, card = model.config.input_size, read_card(SHIPPED)
    held_out = held_out_set(hand, size, HANDS)
    predictions = predict(model, held_out)
    each = score_each(predictions)
    scores = metrics.summarise(each)
    predictions |= in_the_mirror(model, held_out, predictions)
    scores |= handedness_scores(predictions)
    mean = pose_hand(hand)
    truth = predictions["gt_joints"]
    baseline = metrics.baselines(
        mean.joints, mean.vertices, truth, predictions["gt_vertices"], truth
    )["mean pose"]
    rows = [
        f"| {title.format(size=size)} | {scores[name]:#.3g} | {_or_dash(baseline.get(name))} |"
        for name, title in TABLE.items()
    ]
    failures = analysis.failures(predictions)
    shares = [f"{name} {rows.mean():.1%}" for name, rows in failures.items() if rows.any()]
    pieces = card["pieces"]
    numbered = list(enumerate(pieces, 1))
    lines = [
        f"| {n} | {p['images']:,} | {p.get('repeat', 1)}x | {p['minutes']:.0f} | "
        f"{p['batch_size']} | {p.get('optimizer', 'adamw')} | {p['learning_rate'] or 'usual'} | "
        f"{p['parameters'] / 1e6:.1f} M | {p['machine']} | "
        f"{p['held_out']['pa_mpjpe_mm']:.2f} mm |"
        for n, p in numbered
    ]
    for n, mean in reversed([(n, p["averaged"]) for n, p in numbered if "averaged" in p]):
        of = ", ".join(map(str, [*mean["with"], n]))
        pa = mean["held_out"]["pa_mpjpe_mm"]
        lines.insert(n, f"| mean of {of} |{' – |' * 8} {pa:.2f} mm |")
    text = CARD.format(
        preset=card["preset"],
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        size=size,
        megabytes=sum(path.stat().st_size for path in SHIPPED.iterdir()) / 1e6,
        hand=hand.name,
        images=sum(p["images"] for p in pieces) / 1e6,
        rendered=sum(p["images"] / p.get("repeat", 1) for p in pieces) / 1e6,
        n=len(pieces),
        minutes=sum(p["minutes"] for p in pieces),
        pieces="\n".join(lines),
        hands=HANDS,
        scores="\n".join(rows),
        failures=", ".join(shares) or "never",
        ways="\n".join(ways(model, held_out)),
        photos=PHOTOS,
        **finding(hand),
    )
    (SHIPPED / "README.md").write_text(text)
    draw(predictions, each, held_out, hand)
    print(text)


def ways(model, held_out):
    """A row of ``WAYS`` for each: errors, and what it takes."""
    usual, lines = model.config, []
    for name, changes in WAYS.items():
        model.config = replace(usual, **changes)
        predictions, some = predict(model, held_out), held_out[:TIMED]
        with one_thread():  # others wait for each other, which counts as work
            start = time.process_time()
            predict(model, some)
            took = 1e3 * (time.process_time() - start) / len(some)
        scores = metrics.summarise(score_each(predictions))
        lines.append(
            f"| {name} | {scores['pa_mpjpe_mm']:.2f} mm | {scores['mpjpe_root_mm']:.1f} mm | "
            f"{scores['error_2d_px']:.2f} px | {took:.0f} |"
        )
    model.config = usual
    return lines


def finding(hand):
    """Share of hands that are found in whole photos, and how many things that are none."""
    predictor, share, others, false = Predictor(), 0, 0, 0
    for sample in made_up_photos(hand, PHOTOS, HELD_OUT_SEED):
        box = tight_box(sample.joints_2d)
        right = [box_overlap(found.box, box) > OVERLAP for found in predictor.find(sample.image)]
        share += any(right) / PHOTOS
        others += right.count(False) / PHOTOS
    rng, backgrounds = np.random.default_rng(HELD_OUT_SEED), load_backgrounds(seed=HELD_OUT_SEED)
    for _ in range(PHOTOS):
        photo = body_part(rng, np.float32(backgrounds.draw(rng, (SIZE, SIZE))))
        false += len(predictor.find(photo.clip(0, 255).astype(np.uint8))) / PHOTOS
    return {"found": share, "others": others, "false": false}


def draw(predictions, each, held_out, hand):
    """Errors of groups; the best, the median and the worst hands."""
    truth, found = predictions["gt_joints"], predictions["pred_joints"]
    masks = analysis.groups(predictions)
    errors = {"aligned (PA)": metrics.aligned_errors_mm(found, truth)}
    grouped = {n: analysis.group_errors(e, masks, predictions["group"]) for n, e in errors.items()}
    title = f"{HANDS:,} held-out synthetic hands ({hand.name})"
    _save(plots.show_error_groups(grouped, title=title), "card_groups")
    columns = each | {"group": predictions["group"]}
    chosen = analysis.best_median_worst(columns, "pa_mpjpe_mm", 2)
    rows = [row for of_kind in chosen.values() for row in of_kind]
    shown = {name: values[rows] for name, values in predictions.items()}
    samples = [held_out[row] for row in rows]
    _save(plots.show_predictions(samples, shown, hand.faces), "card_examples")


def _save(figure, name):
    path = Path(__file__).parent / f"{name}.png"
    figure.savefig(path)
    Image.open(path).convert("RGB").save(path.with_suffix(".jpg"), quality=85, optimize=True)
    path.unlink()


def _or_dash(value):
    return "–" if value is None else f"{value:#.3g}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    torch.set_grad_enabled(False)
    main()
