"""The options of ``handlib predict``; nothing is imported for them."""

FORMATS = ("png", "json", "obj", "html")
OUT = "predictions"


def add_arguments(parser):
    """The options of ``handlib predict``."""
    parser.add_argument(
        "photos", nargs="*", metavar="PHOTO", help="photos, folders of them, videos"
    )
    parser.add_argument(
        "--box", nargs=4, type=float, metavar=("X0", "Y0", "X1", "Y1"),
        help="around the hand, px (in a video's first frame); without it the hands are found",
    )  # fmt: skip
    parser.add_argument(
        "--boxes", metavar="FILE", help="COCO-style JSON of annotated photos, or a folder of "
        "InterHand2.6M or RHD: their boxes and sides are taken, and 2D errors are printed",
    )  # fmt: skip
    parser.add_argument(
        "--order", metavar="NAME", help="joint order of a COCO-style file: rhd, interhand, mpii, "
        "... [freihand, as OpenPose and MediaPipe]",
    )  # fmt: skip
    parser.add_argument(
        "--K", nargs="+", metavar="K", help="camera: fx fy cx cy in px, or a JSON file of K (3, 3)"
    )
    sides = parser.add_mutually_exclusive_group()
    sides.add_argument("--left", action="store_true", help="they are left hands")
    sides.add_argument("--right", action="store_true", help="they are right hands")
    parser.add_argument(
        "--weights", metavar="RUN", help="run's name or folder, or checkpoint [handlib's]"
    )
    parser.add_argument("--out", default=OUT, metavar="FOLDER", help=f"where files go [{OUT}/]")
    parser.add_argument("--format", nargs="+", choices=FORMATS, help="files of a photo [all]")
    parser.add_argument("--most", type=int, help="hands at most [10 in a photo, 2 in a video]")
    parser.add_argument("--sure", type=float, help="confidence that a hand needs, 0 to 1 [0.55]")
    parser.add_argument("--views", type=int, default=1, help="average over so many views [1]")
    parser.add_argument("--refine", type=int, help="gradient steps onto 2D joints [the model's]")
