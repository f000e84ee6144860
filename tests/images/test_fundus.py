"""The field of view and the contract, on discs whose place is known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveola.images.fundus import ALGORITHM, Contract, FieldOfView, enhance, find_field_of_view, prepare
from foveola.phantom.anatomy import make_eye, make_subject
from foveola.phantom.rendering import render


def disc(height, width, x, y, radius, *, inside=(180, 90, 40), outside=(0, 0, 0)):
    """A plain retina-coloured disc; the frame may cut it."""
    rows, columns = np.mgrid[:height, :width]
    image = np.empty((height, width, 3), np.uint8)
    image[:] = outside
    image[(columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2] = inside
    return image


def close_to(view, x, y, radius, tolerance):
    return view.round and np.allclose((view.x, view.y, view.radius), (x, y, radius), atol=tolerance)


@pytest.mark.parametrize("outside", [(0, 0, 0), (12, 10, 9), (255, 255, 255), (240, 244, 239)])
def test_a_whole_disc_is_found_whatever_surrounds_it(outside):
    view = find_field_of_view(disc(600, 800, 410, 290, 260, outside=outside))
    assert close_to(view, 410, 290, 260, tolerance=4)  # one pixel of the thumbnail is 4


def test_a_disc_cut_at_top_and_bottom_keeps_its_true_radius():
    view = find_field_of_view(disc(400, 600, 300, 200, 280))
    assert close_to(view, 300, 200, 280, tolerance=5)


def test_a_disc_cut_on_all_sides_is_found_from_its_corners():
    view = find_field_of_view(disc(400, 400, 200, 200, 240))
    assert close_to(view, 200, 200, 240, tolerance=6)


def test_a_disc_partly_in_the_dark_is_still_found():
    image = disc(500, 500, 250, 250, 230)
    image[330:, :250] //= 40  # the lower left is black as the surround
    assert close_to(find_field_of_view(image), 250, 250, 230, tolerance=8)


def test_a_notch_and_a_label_in_the_corner_do_not_move_the_disc():
    image = disc(500, 600, 290, 250, 220)
    cv2.rectangle(image, (490, 240), (520, 260), (180, 90, 40), -1)
    cv2.putText(image, "OD 12", (5, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    assert close_to(find_field_of_view(image), 290, 250, 220, tolerance=6)


@pytest.mark.parametrize("value", [0, 3, 128, 255])
def test_a_frame_without_a_disc_is_taken_whole(value):
    view = find_field_of_view(np.full((300, 400, 3), value, np.uint8))
    assert view == FieldOfView(200, 150, 200, round=False)


def test_retina_up_to_every_edge_is_taken_whole():
    rng = np.random.default_rng(0)
    image = rng.integers(80, 200, (256, 256, 3), dtype=np.uint8)
    assert not find_field_of_view(image).round


@given(st.integers(60, 900), st.integers(60, 900), st.integers(0, 2**32 - 1))
def test_any_picture_gives_a_square_of_the_size_asked(height, width, seed):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    out = prepare(image, Contract(size=64))
    assert out.shape == (64, 64, 3)
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous


def test_the_disc_fills_the_square_whatever_its_size_and_place():
    contract = Contract(size=128, mask=False)
    one = prepare(disc(600, 800, 410, 290, 260), contract).astype(int)
    other = prepare(disc(2000, 1500, 720, 1100, 610), contract).astype(int)
    retina = one[..., 0] > 90
    assert retina.mean() == pytest.approx(np.pi / 4, abs=0.02)
    assert np.abs(one - other).max(axis=2).mean() < 4  # they differ on the rim only


def test_what_lies_outside_the_disc_is_black_when_masked():
    image = disc(500, 500, 250, 250, 200, outside=(255, 255, 255))
    masked = prepare(image, Contract(size=100))
    unmasked = prepare(image, Contract(size=100, mask=False))
    assert masked[0, 0].tolist() == [0, 0, 0]
    assert unmasked[0, 0].tolist() == [255, 255, 255]
    assert (masked[50] == unmasked[50])[5:-5].all()


def test_left_eyes_are_mirrored_only_when_asked_and_known():
    image = disc(300, 300, 150, 150, 140)
    image[100:140, 40:80] = 250  # a bright patch on the left
    oriented = Contract(size=300, orient=True)
    as_it_is = prepare(image, Contract(size=300))
    assert (prepare(image, oriented, "left") == as_it_is[:, ::-1]).all()
    assert (prepare(image, oriented, "right") == as_it_is).all()
    assert (prepare(image, oriented) == as_it_is).all()
    assert (prepare(image, Contract(size=300), "left") == as_it_is).all()


def test_without_cropping_the_frame_is_padded_to_a_square():
    image = np.full((100, 200, 3), 77, np.uint8)
    out = prepare(image, Contract(size=200, crop=False))
    assert (out[50:150] == 77).all()
    assert (out[:50] == 0).all()
    assert (out[150:] == 0).all()


def test_preparing_does_not_change_the_photograph():
    image = disc(300, 300, 150, 150, 140)
    before = image.copy()
    prepare(image, Contract(size=300))
    assert (image == before).all()


def test_every_setting_changes_the_hash():
    contract = Contract()
    others = [
        replace(contract, size=224),
        replace(contract, crop=False),
        replace(contract, mask=False),
        replace(contract, orient=True),
        replace(contract, mean=(0.5, 0.5, 0.5)),
        replace(contract, std=(0.5, 0.5, 0.5)),
    ]
    assert len({contract.hash, *(other.hash for other in others)}) == 7
    assert Contract().hash == contract.hash


def test_a_contract_survives_json():
    contract = Contract(size=320, orient=True)
    assert Contract.from_mapping(contract.to_mapping()) == contract


def test_a_contract_of_another_algorithm_or_setting_is_refused():
    with pytest.raises(ValueError, match=f"algorithm 99; this program has algorithm {ALGORITHM}"):
        Contract.from_mapping({**Contract().to_mapping(), "algorithm": 99})
    with pytest.raises(ValueError, match="unknown preprocessing setting"):
        Contract.from_mapping({**Contract().to_mapping(), "sharpen": True})


@pytest.mark.parametrize("wrong", [{"size": 8}, {"mean": (0.5,)}, {"std": (0.2, 0.0, 0.2)}])
def test_a_senseless_contract_is_refused(wrong):
    with pytest.raises(ValueError, match=r"size|std"):
        Contract(**wrong)


def test_a_frame_squeezed_to_a_square_is_taken_whole():
    """A circle fits one side of its ellipse only, and would cut the other side's retina off."""
    photograph = disc(300, 420, 210, 150, 200)
    found = find_field_of_view(cv2.resize(photograph, (320, 320)))
    assert found == FieldOfView(160, 160, 160, round=False)


# --- the enhancement step ---


def test_detail_comes_out_and_the_surround_stays_black():
    image = render(make_eye(make_subject(4, 1), "left"), [0], size=256).image
    image[np.hypot(*(np.mgrid[:256, :256] - 127.5)) > 118] = 0
    made = enhance(image)
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    assert made[image.max(axis=2) == 0].max() == 0
    inside = np.hypot(*(np.mgrid[:256, :256] - 127.5)) < 100

    def detail(of):
        green = of[..., 1].astype(float)
        return (green - cv2.GaussianBlur(green, (0, 0), 8))[inside].std()

    assert detail(made) > 1.15 * detail(image)


def test_lightness_is_that_of_opencvs_own_and_hue_is_kept():
    rng = np.random.default_rng(0)
    image = rng.integers(20, 200, (64, 64, 3)).astype(np.uint8)
    light = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    expected = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(light[..., 0]))
    light[..., 0] = expected
    assert (enhance(image) == cv2.cvtColor(light, cv2.COLOR_LAB2RGB)).all()
