"""Training of the third look: pieces of views, a resumed run, and an export that says the same without norms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch and monai (extra: torch)")
pytest.importorskip("monai", reason="training needs torch and monai (extra: torch)")

from trabecula_models.bundle import WEIGHTS_FOLDER, load_bundle  # noqa: E402
from trabecula_models.networks import REFINE_NETWORK, NetworkConfig, build_network, load_network  # noqa: E402
from trabecula_models.refine import NARROW_HU, WIDE_HU, BodyView, scale_to_range  # noqa: E402
from trabecula_models.training.config import RefineConfig, Task  # noqa: E402
from trabecula_models.training.export import export  # noqa: E402
from trabecula_models.training.norms import fold_norms, unfold_norms  # noqa: E402
from trabecula_models.training.refine import (  # noqa: E402
    PIECE_ZYX,
    draw_piece,
    outline_loss,
    refine_step,
    starting_weights,
)
from trabecula_models.training.state import learning_rate, open_state  # noqa: E402
from trabecula_models.training.view_cases import DRAWN_PREFIX, StoredView, ViewCase, load_views, save_views  # noqa: E402
from trabecula_models.training.widen import widened  # noqa: E402

TINY = NetworkConfig(channels=(4, 4, 8), strides=(1, 2), norm="BATCH", in_channels=5, out_channels=1)


def tiny_config(folder: Path) -> RefineConfig:
    return RefineConfig(output_folder=folder, views_folder=folder / "views", network=TINY, steps=100, batch=2, warm_up_steps=2)


def ball_view(radius: float = 12.0, shape: tuple[int, int, int] = (36, 44, 52)) -> StoredView:
    """A ball of bone in fat whose outline the fine network drew 2 mm too small."""
    away = np.linalg.norm(np.argwhere(np.ones(shape)) - (np.array(shape) - 1) / 2, axis=1).reshape(shape)
    truth = away < radius
    said = np.stack([np.where(away < radius - 2, 90, -100), np.where(away < radius, 100, 0), np.zeros(shape)]).astype(np.int8)
    return StoredView(hu=np.where(truth, 180, -90).astype(np.int16), said=said, truth=truth)


def test_a_piece_shows_the_same_place_in_all_channels_and_in_the_truth() -> None:
    view = ball_view()
    for seed in range(20):
        channels, truth = draw_piece(view, np.random.default_rng(seed))
        assert channels.shape == (5, *PIECE_ZYX)
        assert truth.shape == PIECE_ZYX
        assert channels[1][truth].mean() > channels[1][~truth].mean() + 0.4
        assert np.array_equal(channels[3] > 0.5, truth)


def test_what_lies_beyond_a_small_view_is_air_without_a_body() -> None:
    channels, truth = draw_piece(ball_view(8.0, (20, 24, 28)), np.random.default_rng(1))
    assert truth.sum() == ball_view(8.0, (20, 24, 28)).truth.sum()
    assert (channels[:3] == -1).all(axis=0).sum() >= np.prod(PIECE_ZYX) - 20 * 24 * 28


def test_views_are_kept_with_their_hu_and_their_truth(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    hu = rng.integers(-200, 1000, (8, 8, 12)).astype(np.float32)
    said = rng.integers(-100, 101, (3, 8, 8, 12)).astype(np.float32) / 100
    channels = np.concatenate([[scale_to_range(hu, WIDE_HU), scale_to_range(hu, NARROW_HU)], said]).astype(np.float32)
    case = ViewCase(view=BodyView(instance=1, first_zyx=(0, 0, 0), channels=channels), truth=hu > 300)
    save_views([case, case], tmp_path / f"{DRAWN_PREFIX}00000.npz")
    first, second = load_views(tmp_path, DRAWN_PREFIX)
    assert np.array_equal(first.hu, hu)
    assert np.array_equal(second.truth, hu > 300)
    everything = tuple(slice(None) for _ in range(3))
    assert first.said_channels(everything) == pytest.approx(said, abs=1e-6)


def test_the_loss_is_lower_for_the_truth() -> None:
    truth = torch.from_numpy(np.stack([ball_view().truth] * 2)).float()
    right = (truth * 2 - 1) * 12
    assert float(outline_loss(right, truth)) < 0.05 < float(outline_loss(torch.zeros_like(truth), truth))


def test_a_resumed_run_takes_the_same_next_step(tmp_path: Path) -> None:
    config, views = tiny_config(tmp_path), [ball_view(10.0), ball_view()]
    state = open_state(config)
    losses = [refine_step(config, state, views, []) for _ in range(3)]
    assert np.isfinite(losses).all()
    state.save(tmp_path)
    resumed = open_state(config)
    assert resumed.step == state.step == 3
    assert refine_step(config, resumed, views, []) == pytest.approx(refine_step(config, state, views, []))


def test_the_rate_warms_up_stays_and_falls(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert learning_rate(config, 0) < learning_rate(config, 20) == pytest.approx(config.learning_rate)
    assert learning_rate(config, 100) == pytest.approx(0.01 * config.learning_rate)


def test_without_its_norms_the_network_says_the_same() -> None:
    torch.manual_seed(5)
    network = build_network(TINY)
    for _ in range(3):
        network(torch.randn(2, 5, 16, 16, 16) * 2 + 1)  # gives the norms means and variances of their own
    for name, parameter in network.named_parameters():
        if ".adn.N." in name:
            torch.nn.init.uniform_(parameter, 0.4, 1.6)
    plain = build_network(replace(TINY, norm=None)).eval()
    plain.load_state_dict(fold_norms(dict(network.eval().state_dict())))
    image = torch.randn(1, 5, 16, 24, 16)
    with torch.inference_mode():
        assert torch.allclose(plain(image), network(image), atol=1e-4)


def test_published_weights_get_norms_back_and_say_the_same() -> None:
    torch.manual_seed(6)
    plain = build_network(replace(TINY, norm=None)).eval()
    images = [torch.randn(2, 5, 16, 16, 16) for _ in range(3)]
    unfolded = unfold_norms(dict(plain.state_dict()), TINY, images)
    normed = build_network(TINY).eval()
    normed.load_state_dict(unfolded)
    image = torch.randn(1, 5, 16, 24, 16)
    with torch.inference_mode():
        assert torch.allclose(normed(image), plain(image), atol=1e-4)
        seen_in_training = normed.train()(torch.cat(images))
        assert torch.allclose(seen_in_training, plain(torch.cat(images)), atol=0.05 * float(seen_in_training.std()))
    for name, value in fold_norms(unfolded).items():
        assert torch.allclose(value, plain.state_dict()[name], atol=1e-5), name


def test_a_wider_network_says_what_the_narrow_one_says_until_it_learns() -> None:
    torch.manual_seed(7)
    narrow = replace(TINY, norm=None)
    wide = replace(narrow, channels=(6, 7, 8))
    published, grown = build_network(narrow).eval(), build_network(wide).eval()
    image = torch.randn(1, 5, 16, 24, 16)
    with torch.inference_mode():
        grown.load_state_dict(widened(dict(published.state_dict()), narrow, wide, noise=0.0))
        assert torch.allclose(grown(image), published(image), atol=1e-5)
        grown.load_state_dict(widened(dict(published.state_dict()), narrow, wide))
        difference, usual = (grown(image) - published(image)).abs().max(), published(image).std()
    assert 0 < float(difference) < 0.5 * float(usual)
    first = grown.state_dict()["model.0.conv.weight"]
    assert not torch.allclose(first[0], first[4], atol=1e-4)  # a channel and its copy


def test_a_new_run_starts_from_a_bundle_and_a_stopped_one_from_its_checkpoint(tmp_path: Path) -> None:
    config = replace(tiny_config(tmp_path), start_from=WEIGHTS_FOLDER / "refine", network=REFINE_NETWORK)
    weights = starting_weights(config, [ball_view()])
    assert weights is not None
    published = load_network(WEIGHTS_FOLDER / "refine").state_dict()
    for name, value in fold_norms(weights).items():
        assert torch.allclose(value, published[name], atol=1e-4), name
    open_state(config, weights).save(tmp_path)
    assert starting_weights(config, [ball_view()]) is None
    wide = replace(config, output_folder=tmp_path / "wide", network=replace(REFINE_NETWORK, channels=(16, 24, 48, 96, 96)))
    grown = starting_weights(wide, [ball_view()])
    assert grown is not None
    assert grown["model.0.conv.weight"].shape[0] == 16


@pytest.mark.filterwarnings("ignore")  # MONAI warns of configurations from others; this one is ours
def test_an_export_is_a_bundle_that_monai_alone_runs_on_a_view(tmp_path: Path) -> None:
    from monai.bundle import run

    config = RefineConfig(output_folder=tmp_path, views_folder=tmp_path)
    open_state(config).save(tmp_path)
    folder = tmp_path / "refine"
    export(tmp_path / "checkpoint.pt", Task.REFINE, 1.0, PIECE_ZYX, folder, seed=1)
    bundle = load_bundle("refine", tmp_path)
    assert (bundle.strides, bundle.normed, bundle.spacing_mm) == ((1, 1, 2, 2), False, 1.0)
    (tmp_path / "in").mkdir()
    view = np.random.default_rng(0).normal(size=(5, 16, 12, 20)).astype(np.float32)
    np.save(tmp_path / "in" / "view.npy", view)
    run(
        config_file=str(folder / "configs" / "inference.json"),
        bundle_root=str(folder),
        dataset_dir=str(tmp_path / "in"),
        output_dir=str(tmp_path / "out"),
        device="$torch.device('cpu')",
    )
    torch.set_grad_enabled(True)  # the run turned it off
    with torch.inference_mode():
        expected = load_network(folder)(torch.from_numpy(view)[None])[0].numpy()
    assert np.allclose(np.load(tmp_path / "out" / "view.npy"), expected, atol=1e-5)
