import json

import numpy as np
import pytest

from handlib.data.decimals import json_text


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (3, 1, 5)])
@pytest.mark.parametrize("decimals", [1, 6, 9])
def test_text_is_that_of_json_for_rounded_numbers(shape, decimals):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, shape)).round(decimals)
    text = json_text(values, decimals)
    np.testing.assert_allclose(json.loads(text), values, atol=1e-12, rtol=0)
    # json itself changes to exponents below 1e-4.
    if not ((np.abs(values) < 1e-4) & (values != 0)).any():
        assert text == json.dumps((values + 0.0).tolist())


def test_signs_zeros_carries_and_large_numbers():
    values = np.array([-0.0, 0.5, -0.04, 9.96, 99.95001, -123456789.25, 1e-9, 100.0])
    expected = "[0.0, 0.5, 0.0, 10.0, 100.0, -123456789.2, 0.0, 100.0]"
    assert json_text(values, 1) == expected
