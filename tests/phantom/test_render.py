"""None"""

import cv2
import numpy as np
import pytest

from foveola.phantom import KINDS, make_eye, make_subject, paint_ground, render
from foveola.phantom.drawing import CAMERAS, aperture
from foveola.phantom.rendering import paint_lesions

SIZE = 256


@pytest.fixture(scope="module")
def eyes():
    return [make_eye(make_subject(3, n), side) for n in range(6) for side in ("right", "left")]


def spots(mask) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8))[0] - 1


def straightened(phantom, kind: str = "vessels"):
    """A mask brought back from the camera's view into the eye's own frame."""
    scale = phantom.view.size / 2.4
    to_frame = np.array([[scale, 0, 1.2 * scale], [0, scale, 1.2 * scale]])
    forth = np.vstack([phantom.view.matrix, [0, 0, 1]])
    matrix = (np.vstack([to_frame, [0, 0, 1]]) @ np.linalg.inv(forth))[:2]
    return cv2.warpAffine(phantom.masks[kind].astype(np.float32), matrix, (SIZE, SIZE))


def test_image_and_masks_have_their_shapes(eyes):
    phantom = render(eyes[0], [4], size=SIZE)
    assert phantom.image.shape == (SIZE, SIZE, 3)
    assert phantom.image.dtype == np.uint8
    assert tuple(phantom.masks) == KINDS
    assert all(m.shape == (SIZE, SIZE) and m.dtype == np.bool_ for m in phantom.masks.values())


def test_the_disc_lies_nasally_and_the_fovea_on_the_other_side(eyes):
    # The nose is at the image's right for a right eye and at its left for a left one.
    for eye in eyes:
        x = np.nonzero(render(eye, [0], size=SIZE).masks["disc"])[1].mean()
        assert x > 0.65 * SIZE if eye.eye == "right" else x < 0.35 * SIZE
        assert eye.fovea[0] < eye.disc[0]


def test_fovea_lies_two_and_a_half_disc_diameters_from_the_disc(eyes):
    far = [np.hypot(*np.subtract(eye.disc, eye.fovea)) / sum(eye.disc_axes) for eye in eyes]
    assert np.mean(far) == pytest.approx(2.5, abs=0.2)


def test_the_disc_is_brightest_and_the_fovea_dark(eyes):
    for eye in eyes:
        phantom = render(eye, [0], size=SIZE)
        green = phantom.image[..., 1].astype(float)
        x, y = np.round(phantom.view.pixels(np.array([eye.fovea], np.float32))[0]).astype(int)
        fovea = green[y - 4 : y + 5, x - 4 : x + 5].mean()
        around = green[y - 40 : y + 41, x - 40 : x + 41].mean()
        assert fovea < 0.95 * around < around < green[phantom.masks["disc"]].mean()


def test_veins_and_arteries_end_before_the_fovea(eyes):
    for eye in eyes:
        nearest = min(np.hypot(*(v.points - np.array(eye.fovea)).T).min() for v in eye.vessels)
        assert 0.05 < nearest < 0.30


def test_vessels_of_one_kind_do_not_run_into_each_other(eyes):
    for eye in eyes[:3]:
        before = {True: [], False: []}
        near, points = 0, 0
        for vessel in eye.vessels:  # in the order they grew, the trunks first
            if before[vessel.artery] and vessel.widths[0] < 0.012 and len(vessel.points) > 6:
                own, others = vessel.points[6:], np.concatenate(before[vessel.artery])
                gaps = np.hypot(*(own[:, None] - others).transpose(2, 0, 1)).min(1)
                near, points = near + (gaps < 0.012).sum(), points + len(gaps)
            before[vessel.artery].append(vessel.points)
        assert points > 300
        assert near / points < 0.01


def test_drusen_follow_the_months_and_not_the_number_of_visits():
    subject = next(s for s in (make_subject(0, n) for n in range(200)) if 5 < s.drusen_age - s.age < 30)
    eye = make_eye(subject, "left")
    soon, late = (render(eye, [0, 0], months=[0, m], size=128) for m in (12, 400))
    assert not soon.masks["drusen"].any()
    assert late.masks["drusen"].any()


def test_masks_lie_inside_the_field_of_view(eyes):
    for eye in eyes:
        phantom = render(eye, [4], size=SIZE)
        outside = aperture(phantom.shot.camera, SIZE) == 0
        assert outside.mean() > 0.2
        assert not any(mask[outside].any() for mask in phantom.masks.values())


def test_outside_the_field_of_view_nothing_but_the_word_phantom_is_to_be_seen(eyes):
    for eye in eyes[:4]:
        phantom = render(eye, [3], size=SIZE)
        outside = phantom.image.max(2) * (aperture(phantom.shot.camera, SIZE) == 0)
        y, x = np.nonzero(outside > 8)
        assert len(y) > 20
        assert x.max() < 0.2 * SIZE
        assert y.min() > 0.94 * SIZE
        assert outside.max() < 80


def test_masks_follow_the_icdr_scale(eyes):
    for eye in eyes:
        masks = [render(eye, [g], size=SIZE).masks for g in range(5)]
        seen = [{k for k in ("MA", "HE", "EX", "SE", "NV") if m[k].any()} for m in masks]
        assert seen[0] == set()
        assert seen[1] == {"MA"}
        assert {"MA", "HE"} <= seen[2]
        assert "NV" not in seen[2] | seen[3]
        assert "HE" in seen[3]
        assert spots(masks[2]["HE"]) <= 20


def test_more_than_20_haemorrhages_in_each_quadrant_are_told_apart_in_the_mask(eyes):
    many = 0
    for eye in eyes:
        phantom = render(eye, [3], size=512)
        if phantom.disease.count("HE") <= 80:
            continue
        many += 1
        assert spots(phantom.masks["HE"]) > 80
    assert many >= 1


def test_every_lesion_that_is_counted_is_in_the_mask(eyes):
    kinds = set()
    for eye in eyes:
        phantom = render(eye, [4, 4], size=SIZE)
        for lesion in phantom.disease.lesions:
            kind = {"IRMA": "vessels", "preretinal": "HE"}.get(lesion.kind, lesion.kind)
            x, y = phantom.view.pixels(np.array([lesion.at], np.float32))[0]
            # Most cover their own centre; the others are rings, threads and heaps around it.
            compact = lesion.form in {"MA", "dot", "blot", "preretinal", "drusen"}
            reach = 1.0 if compact else 3 + 1.6 * lesion.radius * phantom.view.scale
            window = phantom.masks[kind][
                max(0, int(y - reach)) : int(y + reach) + 1, max(0, int(x - reach)) : int(x + reach) + 1
            ]
            assert window.any(), (lesion.kind, lesion.at)
            kinds.add(lesion.kind)
    assert kinds >= {"MA", "HE", "EX", "SE", "NV", "IRMA", "preretinal"}


def test_lesions_have_their_colours(eyes):
    ratios = {"MA": [], "HE": [], "EX": []}
    for eye in eyes:
        sick, well = render(eye, [3], size=512), render(eye, [0], size=512)
        for kind, values in ratios.items():
            if (mask := sick.masks[kind] & ~well.masks["vessels"]).any():
                green = [p.image[..., 1][mask].astype(float).mean() for p in (sick, well)]
                values.append(green[0] / green[1])
    assert max(ratios["MA"]) < 0.9
    assert max(ratios["HE"]) < 0.8
    assert min(ratios["EX"]) > 1.2


def test_an_eye_resembles_itself_at_another_visit_and_no_other_eye(eyes):
    frames = {(i, v): straightened(render(eye, [1] * v, size=SIZE)) - 0.1 for i, eye in enumerate(eyes) for v in (1, 2)}
    likeness = np.array(
        [
            [np.corrcoef(frames[i, 1].ravel(), frames[j, 2].ravel())[0, 1] for j in range(len(eyes))]
            for i in range(len(eyes))
        ]
    )
    own, others = likeness.diagonal(), likeness[~np.eye(len(eyes), dtype=bool)]
    assert own.min() > 0.6
    assert others.max() < 0.4


def test_visits_differ_by_camera_position(eyes):
    first, second = (render(eyes[0], [1] * v, size=SIZE) for v in (1, 2))
    assert not np.allclose(first.view.matrix, second.view.matrix, atol=0.5)
    assert np.abs(first.image.astype(int) - second.image).mean() > 3


def test_ground_can_be_shared_between_visits(eyes):
    ground = paint_ground(eyes[0], SIZE)
    before = ground.copy()
    shared = render(eyes[0], [2], size=SIZE, ground=ground)
    assert np.array_equal(shared.image, render(eyes[0], [2], size=SIZE).image)
    assert np.array_equal(ground, before)


def test_the_camera_knows_nothing_of_the_grade(eyes):
    shots = [render(eyes[3], [grade], size=128).shot for grade in range(5)]
    assert len(set(shots)) == 1


def test_cameras_show_different_fields_of_view():
    areas = {camera.name: aperture(camera, SIZE).mean() for camera in CAMERAS}
    assert areas["amber"] == pytest.approx(np.pi / 4 * 0.975**2, abs=0.003)
    assert areas["brick"] < areas["ochre"] < areas["amber"]


@pytest.mark.parametrize("size", [127, 2049])
def test_a_size_out_of_range_is_refused(size, eyes):
    with pytest.raises(ValueError, match="128 to 2048"):
        render(eyes[0], [0], size=size)


# --- lesions painted into a photograph ---


def retina(side=256):
    y, x = np.mgrid[:side, :side] - side / 2
    image = np.zeros((side, side, 3), np.uint8)
    image[np.hypot(x, y) < 0.48 * side] = (170, 90, 45)
    return image


def test_lesions_are_painted_inside_the_field_of_view_alone():
    image = retina()
    painted = paint_lesions(image, seed=5, grade=3)
    assert painted.shape == image.shape
    assert painted.dtype == np.uint8
    black = image.max(axis=2) == 0
    assert (painted[black] == 0).all()
    changed = np.abs(painted.astype(int) - image).max(axis=2) > 15
    assert 0.002 < changed.mean() < 0.2


def test_higher_grades_have_more_and_seeds_differ():
    image = retina()

    def changed(seed, grade):
        return np.abs(paint_lesions(image, seed=seed, grade=grade).astype(int) - image) > 15

    for seed in range(3, 8):
        sizes = [changed(seed, grade).sum() for grade in (0, 1, 2, 3)]
        assert sizes[1] < sizes[2] < sizes[3]
    first, second = changed(3, 3), changed(4, 3)
    assert (first & second).sum() < 0.3 * min(first.sum(), second.sum())
    again = paint_lesions(image, seed=3, grade=3)
    assert (again == paint_lesions(image, seed=3, grade=3)).all()


def test_a_dark_photograph_gets_dark_lesions():
    dark = retina() // 4
    painted = paint_lesions(dark, seed=5, grade=3)
    assert painted.max() < 120


def test_black_stays_black_and_other_shapes_are_refused():
    black = np.zeros((64, 64, 3), np.uint8)
    assert (paint_lesions(black, seed=1, grade=4) == 0).all()
    with pytest.raises(ValueError, match=r"expected \(S, S, 3\) uint8"):
        paint_lesions(np.zeros((64, 32, 3), np.uint8), seed=1, grade=2)
    with pytest.raises(ValueError, match="expected grades 0 to 4"):
        paint_lesions(black + 99, seed=1, grade=5)
