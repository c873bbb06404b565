"""What cameras, video and zooming do to a picture: blur, dim light, few pixels, compression."""

import cv2
import numpy as np

from handlib.augment.base import Transform
from handlib.augment.pixels import NOISE_SPARE, noise_field


class Degrade(Transform):
    """A picture as from a small or hurried camera, or cut out of a larger one and blown up.

    In the order of the camera: blur of motion or of the lens, fewer pixels, exposure, noise,
    sharpening, JPEG; then enlarged to the size that it had.

    Args:
        p: probability of any change.
        pixels, motion, lens, exposure, noise, sharpen, jpeg: probability of each, where any.
        most: the fewest pixels are one in this many along a side.
    """

    def __init__(self, p=0.6, *, pixels=0.4, motion=0.15, lens=0.1, exposure=0.3, noise=0.3,
                 sharpen=0.15, jpeg=0.4, most=3.5):  # fmt: skip
        self.p, self.most = p, most
        self.shares = {
            "pixels": pixels, "motion": motion, "lens": lens, "exposure": exposure,
            "noise": noise, "sharpen": sharpen, "jpeg": jpeg,
        }  # fmt: skip

    def draw(self, rng, sample):
        on = rng.random() < self.p
        params = {
            "pixels": np.exp(rng.uniform(0, np.log(self.most))),
            "motion": rng.uniform(0.01, 0.05),  # length and radius as shares of the picture
            "lens": rng.uniform(0.004, 0.02),
            "exposure": np.exp(rng.uniform(-1.3, 0.4)),
            "noise": np.exp(rng.uniform(*np.log([2, 12]))),
            "sharpen": rng.uniform(0.3, 1.5),
            "jpeg": int(rng.integers(15, 90)),
        }
        params = {k: v for k, v in params.items() if rng.random() < self.shares[k]}
        extra = {
            "angle": rng.uniform(0, np.pi),
            "is_grey": bool(rng.random() < 0.5),
            "smooth": bool(rng.random() < 0.7),
            "at": tuple(rng.integers(NOISE_SPARE, size=2).tolist()),
        }
        return params | extra if on and params else None

    def apply(self, sample, params):
        if params is None:
            return sample
        size, image = sample.size, sample.image
        extent = max(size) / params.get("pixels", 1)
        if "pixels" in params:
            small = [max(8, round(side / params["pixels"])) for side in size]
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        for kernel in _kernels(params, extent):
            image = cv2.filter2D(image, -1, kernel)
        if "exposure" in params:
            image = cv2.convertScaleAbs(image, alpha=params["exposure"])
        if "noise" in params:
            image = _noisy(image, params, noise_field(max(size)))
        if "sharpen" in params:
            soft = cv2.GaussianBlur(image, (0, 0), 1)
            image = cv2.addWeighted(image, 1 + params["sharpen"], soft, -params["sharpen"], 0)
        if "jpeg" in params:
            image = _compressed(image, params["jpeg"])
        if image.shape[1::-1] != size:
            enlarge = cv2.INTER_LINEAR if params["smooth"] else cv2.INTER_CUBIC
            image = cv2.resize(image, size, interpolation=enlarge)
        return sample.replace(image=image)


def _kernels(params, extent):
    """Weights of the two blurs, for a picture whose longer side is ``extent`` px."""
    if "motion" in params:
        reach = params["motion"] * extent / 2
        step = np.array([np.cos(params["angle"]), np.sin(params["angle"])]) * reach
        yield _spread(np.linspace(-1, 1, 4 * int(reach) + 5)[:, None] * step)
    if "lens" in params:
        radius = params["lens"] * extent
        grid = np.linspace(-1, 1, 2 * int(radius) + 5)
        disc = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
        yield _spread(disc[(disc**2).sum(1) <= 1] * radius)


def _spread(points):
    """The mean of a picture at offsets (N, 2), px, as a kernel: each shared by four pixels."""
    half = int(np.abs(points).max()) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    low = np.floor(points).astype(int)
    x, y = (points - low).T
    for i, wx in ((0, 1 - x), (1, x)):
        for j, wy in ((0, 1 - y), (1, y)):
            rows, columns = low[:, 1] + j + half, low[:, 0] + i + half
            inside = (rows <= 2 * half) & (columns <= 2 * half)
            np.add.at(kernel, (rows[inside], columns[inside]), (wx * wy)[inside])
    return kernel / kernel.sum()


def _noisy(image, params, field):
    height, width = image.shape[:2]
    y, x = params["at"]
    noise = field[y : y + height, x : x + width]
    if params["is_grey"]:
        noise = cv2.merge([noise[..., 0]] * 3)
    noisy = cv2.scaleAdd(noise, params["noise"], image.astype(np.float32))
    return cv2.convertScaleAbs(np.maximum(noisy, 0, out=noisy))


def _compressed(image, quality):
    image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
