"""Preprocessing: scale, contrast, the mean image; random windows and mirrors, of training images alone."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from goodinit.datasets import sets, tensors
from goodinit.datasets.preprocessing import Augmentation, Preprocessing
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, initializers, models
from goodinit.seeds import stream_seed
from goodinit.training import trainer

torch.set_num_threads(1)  # as the command line does: with more, sums are split by how many there are

OPTIONS = [(name, "scale") for name in ("mnist", "digits")]
OPTIONS += [(name, option) for name in ("cifar10", "cifar100", "shapes") for option in ("contrast", "pad", "size")]


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _random_images(count, shape, seed=1):
    """Return images without a 0, of which no two windows are alike."""
    images = torch.randint(1, 256, (count, *shape), generator=_generator(seed), dtype=torch.uint8)
    return Examples(images, torch.arange(count))


def _windows(images, pad):
    """Return all windows of padded images, and their mirrors: (N, 2, 2 pad + 1, 2 pad + 1, C, H, W)."""
    height, width = images.shape[2:]
    padded = np.pad(images, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    rows = [
        np.stack([padded[:, :, top : top + height, left : left + width] for left in range(2 * pad + 1)], 1)
        for top in range(2 * pad + 1)
    ]
    windows = np.stack(rows, 1)
    return np.stack([windows, windows[..., ::-1]], 1)


def _found(images, cut, pad):
    """Return (mirrored, top, left) of each cut image, (3, N), of which every one must be in exactly one place."""
    same = (_windows(images, pad) == cut[:, None, None, None]).all((4, 5, 6))
    assert (same.sum((1, 2, 3)) == 1).all()
    return np.array(np.nonzero(same))[1:]


@pytest.mark.parametrize("contrast", [55.0, 3.0])
def test_contrast_and_the_mean_image_are_those_of_a_slow_transcription(data_root, contrast):
    splits = sets.shapes(data_root, _generator(), contrast=contrast)
    before = splits.train.images.clone()

    def normalized(image):
        image = image.numpy() / 255
        image = image - image.mean()
        return contrast * image / np.sqrt((image**2).sum())

    mean = sum(normalized(image) for image in splits.train.images) / 5000
    np.testing.assert_allclose(splits.preprocessing.mean, mean, atol=1e-6 * contrast)
    for part in (splits.train, splits.test):
        found = splits.preprocessing.normalize(Examples(part.images[:300], part.labels[:300]))
        expected = np.stack([normalized(image) for image in part.images[:300]]) - mean
        assert found.images.dtype == torch.float32
        assert torch.equal(found.labels, part.labels[:300])
        np.testing.assert_allclose(found.images, expected, atol=1e-6 * contrast)
    assert torch.equal(splits.train.images, before)


def test_before_the_mean_is_subtracted_every_image_has_the_contrast_as_its_norm(data_root):
    train = sets.shapes(data_root, _generator()).train
    images = Preprocessing(contrast=55.0).normalize(train).images.double()
    torch.testing.assert_close(images.flatten(1).norm(dim=1), torch.full((5000,), 55.0).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(images.mean((1, 2, 3)), torch.zeros(5000).double(), atol=1e-6, rtol=0)
    assert float(images.var(correction=0)) == pytest.approx(55**2 / 3072, rel=1e-6)


def test_after_the_mean_is_subtracted_no_pixel_has_one(data_root):
    splits = sets.shapes(data_root, _generator(), contrast=55.0)
    images = splits.preprocessing.normalize(splits.train).images
    torch.testing.assert_close(images.mean(0, dtype=torch.float64), torch.zeros(3, 32, 32).double(), atol=1e-5, rtol=0)
    assert images.var() < 55**2 / 3072


def test_the_mean_is_that_of_all_training_images_however_few_are_kept(data_root):
    whole = sets.shapes(data_root, _generator(), contrast=55.0)
    few = sets.shapes(data_root, _generator(), contrast=55.0, train_examples=20, validation_examples=5)
    assert torch.equal(few.preprocessing.mean, whole.preprocessing.mean)


def test_an_image_of_one_color_becomes_0():
    gray = Examples(torch.full((2, 3, 4, 4), 77, dtype=torch.uint8), torch.zeros(2).long())
    assert not Preprocessing(contrast=55.0).normalize(gray).images.any()


def test_scale_multiplies_raw_pixels(data_root):
    scaled, plain = sets.digits(data_root, _generator(), scale=0.004), sets.digits(data_root, _generator())
    raw = plain.test.images
    assert torch.equal(scaled.preprocessing.normalize(scaled.test).images, raw.float() * 0.004)
    assert torch.equal(plain.preprocessing.normalize(plain.test).images, raw.float() / 255)
    assert torch.equal(scaled.test.images, raw)


def test_standardized_training_images_have_mean_0_and_deviation_1_in_each_channel(data_root):
    splits = sets.shapes(data_root, _generator(), standardize=True)
    images = splits.preprocessing.normalize(splits.train).images
    assert images.mean((0, 2, 3)).abs().max() < 1e-4
    assert (images.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    assert splits.preprocessing.normalize(splits.test).images.mean().abs() > 1e-4  # not their own


@pytest.mark.parametrize("scale", [None, 1.0, 0.5])
def test_centered_training_images_have_mean_0_in_each_channel_and_keep_their_scale(data_root, scale):
    splits = sets.shapes(data_root, _generator(), scale=scale, center=True)
    images = splits.preprocessing.normalize(splits.train).images
    factor = 1 / 255 if scale is None else scale
    assert images.mean((0, 2, 3)).abs().max() < 255 * factor * 1e-4
    expected = splits.train.images.float().std((0, 2, 3), correction=0) * factor
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), expected, rtol=1e-4, atol=0)


def test_enlarged_images_are_smooth_keep_what_is_even_and_hold_the_net_s_shape(data_root):
    splits = sets.shapes(data_root, _generator(), standardize=True, size=70)
    small = sets.shapes(data_root, _generator(), standardize=True).preprocessing
    assert splits.preprocessing.shape(splits.train.images) == (3, 70, 70)
    assert small.shape(splits.train.images) == (3, 32, 32)
    few = Examples(splits.train.images[:20], splits.train.labels[:20])
    found = splits.preprocessing.normalize(few).images
    expected = functional.interpolate(small.normalize(few).images, size=(70, 70), mode="bicubic", align_corners=False)
    assert torch.equal(found, expected)
    even = Preprocessing(size=64).normalize(Examples(torch.full((1, 3, 32, 32), 51, dtype=torch.uint8), None))
    torch.testing.assert_close(even.images, torch.full((1, 3, 64, 64), 0.2))


def test_training_images_are_cut_before_they_are_enlarged():
    examples = _random_images(50, (1, 8, 8))
    large = Preprocessing(pad=2, size=16).augment(examples, _generator(5)).images
    cut = Preprocessing(pad=2).augment(examples, _generator(5)).images
    assert torch.equal(large, functional.interpolate(cut, size=16, mode="bicubic"))


def test_a_stack_is_enlarged_as_each_alone():
    parts = [_random_images(6, (3, 8, 8), seed) for seed in (1, 2)]
    preprocessing = Preprocessing(size=16)
    for chosen in (parts, [parts[0]] * 2):
        together = preprocessing.normalize(tensors.stack(chosen)).images
        assert together.shape == (2, 6, 3, 16, 16)
        for found, part in zip(together, chosen, strict=True):
            assert torch.equal(found, preprocessing.normalize(part).images)


def test_two_ways_of_normalizing_are_refused(data_root):
    with pytest.raises(ValueError, match="in three ways: give one"):
        sets.shapes(data_root, _generator(), contrast=55.0, standardize=True)
    for options in ({"contrast": 55.0, "scale": 1.0}, {"standardize": True, "center": True}):
        with pytest.raises(ValueError, match="in three ways: give one"):
            sets.shapes(data_root, _generator(), **options)


def test_a_stack_is_normalized_as_each_alone(data_root):
    splits = sets.shapes(data_root, _generator(), contrast=55.0)
    parts = [part for part, _ in zip(tensors.batches(splits.test, 20), range(3), strict=False)]
    for stacked in (parts, parts[:1] * 3):
        found = splits.preprocessing.normalize(tensors.stack(stacked)).images
        for one, part in zip(found, stacked, strict=True):
            assert torch.equal(one, splits.preprocessing.normalize(part).images)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
@pytest.mark.parametrize("value", [0, -1])
def test_options_of_0_and_less_are_refused(tmp_path, name, option, value):
    with pytest.raises(ValueError, match=f"{name}: {option}: {value} is not more than 0"):
        getattr(sets, name)(tmp_path, _generator(), **{option: value})


def test_every_augmented_image_is_a_window_of_itself_and_all_are_as_likely():
    examples, pad = _random_images(5000, (2, 5, 4)), 2
    cut = Preprocessing(pad=pad).augment(examples, _generator())
    assert cut.images.shape == examples.images.shape
    assert torch.equal(cut.labels, examples.labels)
    mirrored, top, left = _found((examples.images / 255).numpy(), cut.images.numpy(), pad)
    counts = np.bincount((mirrored * 5 + top) * 5 + left, minlength=50)
    assert ((counts - 100) ** 2 / 100).sum() < 49 + 4 * (2 * 49) ** 0.5  # chi-squared with 49 degrees of freedom
    assert abs(mirrored.mean() - 0.5) < 4 * (0.25 / 5000) ** 0.5
    for offsets in (top, left):
        assert abs(offsets.mean() - pad) < 4 * (2 / 5000) ** 0.5  # the variance of 0 to 4 is 2


def test_each_image_is_cut_independently_of_its_neighbor():
    examples, pad = _random_images(5000, (1, 4, 4)), 2
    cut = Preprocessing(pad=pad).augment(examples, _generator())
    places = _found((examples.images / 255).numpy(), cut.images.numpy(), pad)
    for place, share in zip(places, (0.5, 0.2, 0.2), strict=True):
        assert abs((place[1:] == place[:-1]).mean() - share) < 4 * (share * (1 - share) / 4999) ** 0.5


def test_the_zeros_around_an_image_come_after_normalization(data_root):
    splits = sets.shapes(data_root, _generator(), contrast=55.0, pad=8)
    examples = Examples(splits.train.images[:40], splits.train.labels[:40])
    normalized = splits.preprocessing.normalize(examples).images.numpy()
    assert (normalized != 0).all()
    cut = splits.preprocessing.augment(examples, _generator()).images.numpy()
    _, top, left = _found(normalized, cut, 8)
    inside = (32 - abs(top - 8)) * (32 - abs(left - 8))
    assert ((cut == 0).sum((1, 2, 3)) == 3 * (1024 - inside)).all()
    assert {0, 16} <= set(top) | set(left)


def test_windows_follow_from_the_generator():
    examples, preprocessing = _random_images(50, (3, 8, 8)), Preprocessing(pad=4)
    generator = _generator()
    first, second = (preprocessing.augment(examples, generator).images for _ in range(2))
    assert torch.equal(first, preprocessing.augment(examples, _generator()).images)
    assert not torch.equal(first, second)
    assert not torch.equal(first, preprocessing.augment(examples, _generator(1)).images)


@pytest.mark.parametrize("mirror", [True, False])
def test_numbers_drawn_ahead_are_those_of_batch_after_batch(mirror):
    preprocessing, sizes = Preprocessing(pad=4, mirror=mirror), [7] * 3 + [12] * 230 + [5, 12, 12]
    generator, reference = _generator(3), _generator(3)
    ahead = Augmentation(preprocessing, generator)
    for step, size in enumerate(sizes):
        examples = _random_images(size, (3, 8, 8))
        images = preprocessing.augment(examples, reference).images
        assert torch.equal(ahead(examples).images, images)
        if step % 10 in (2, 9):
            assert torch.equal(ahead.get_state(), reference.get_state())  # and not what was drawn ahead
        if step == 150:  # goes on from a checkpoint
            resumed = Augmentation(preprocessing, _generator())
            resumed.set_state(ahead.get_state())
            ahead = resumed


def _runs(house, **options):
    fixed = {
        "data": {"name": "shapes", "train_examples": 200, "validation_examples": 40, "test_examples": 60} | options,
        "model": {"name": "mlp", "hidden": [16]},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"steps": 8, "batch_size": 20, "evaluate_every": 8, "evaluate_on": ["train", "validation", "test"]},
    }
    inits = {"He": "he_normal", "small": {"name": "gaussian", "std": 0.01}}
    return house.study(fixed=fixed, compare={"init": inits}, seeds=2).runs("laptop")


def _execute(runs, data_root):
    return list(trainer.execute(runs, data_root=data_root, device=torch.device("cpu")))


@pytest.mark.parametrize("options", [{"pad": 4}, {"pad": 4, "contrast": 55.0}])
def test_augmented_runs_are_the_same_twice_and_together_as_alone(house, data_root, options):
    runs = _runs(house, **options)
    together = _execute(runs, data_root)
    assert [one.provenance["trained_together"] for one in together] == [4] * 4
    alone = [one for run in runs for one in _execute([run], data_root)]
    for others in (_execute(runs, data_root), alone):
        for one, other in zip(together, others, strict=True):
            assert one.series.keys() == other.series.keys()
            for name, series in one.series.items():
                np.testing.assert_array_equal(series.values, other.series[name].values)


def test_training_images_are_augmented_and_evaluated_ones_never(house, data_root):
    plain, padded = (_execute(_runs(house, **options), data_root)[0] for options in ({}, {"pad": 4}))
    for part in ("train", "validation", "test"):
        losses = [one.series[f"{part}_loss"].values for one in (plain, padded)]
        assert losses[0][0] == losses[1][0]  # of the same net, before any update
        assert losses[0][1] != losses[1][1]
    assert (plain.series["loss"].values != padded.series["loss"].values).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_losses_are_those_of_windows_in_training_and_of_whole_images_in_evaluation(house, data_root, seed):
    run = _runs(house, contrast=55.0, pad=4)[seed]
    assert run.seed == seed
    streams = {purpose: _generator(stream_seed(seed, purpose)) for purpose in ("split", "init", "order", "augment")}
    options = {key: value for key, value in run.parts["data"].items() if key != "name"}
    splits = sets.shapes(data_root, streams["split"], **options)
    model = models.mlp((3, 32, 32), 10, hidden=[16])
    initializers.he_normal(model, None, streams["init"])
    batch = next(curricula.full(splits.train, batch_size=20, steps=1, generator=streams["order"]))
    seen = {part: splits.preprocessing.normalize(getattr(splits, part)) for part in ("train", "validation", "test")}
    seen["loss"] = splits.preprocessing.augment(batch, streams["augment"])
    (found,) = _execute([run], data_root)
    for name, examples in seen.items():
        with torch.no_grad():
            expected = torch.nn.functional.cross_entropy(model(examples.images), examples.labels)
        series = found.series[name if name == "loss" else f"{name}_loss"]
        assert series.values[0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.real_data
def test_cifar10_of_contrast_55_has_a_variance_a_little_below_1(real_data):
    splits = sets.cifar10(real_data, _generator(), contrast=55.0)
    total = sum(
        float(splits.preprocessing.normalize(batch).images.double().square().sum())
        for batch in tensors.batches(splits.train, 5000)
    )
    mean_image = float(splits.preprocessing.mean.double().square().mean())
    assert mean_image == pytest.approx(0.0265, abs=1e-4)
    assert total / splits.train.images.numel() == pytest.approx(55**2 / 3072 - mean_image, rel=1e-5)  # 0.958
