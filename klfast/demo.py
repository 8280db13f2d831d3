"""The demo: exact nearest neighbours of 128,544 image patches by the Kullback-Leibler divergence of their colours.

Two photographs (`sklearn.datasets.load_sample_images`), cut into 16 x 16 patches at stride 2; a patch is the histogram
of its 256 pixels over 4 x 4 x 4 colours. Needs the extra `demo`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import klfast as kl
from klfast import files, plan
from klfast.cli import peak_memory, scaled

SIZE = 16  # of a patch, in pixels
STRIDE = 2
BINS = 64
K = 10
SMOOTHING = 0.5
LETTERS = "ABCDEFG"  # of the queries that the picture shows
QUERIES = len(LETTERS)
SEED = 8


@dataclass(frozen=True)
class Patches:
    """Patches of photographs: their histograms and where they were cut.

    Attributes
    ----------
    images : list of ndarray
        The photographs.
    histograms : ndarray (n, 64), uint16
        Pixels of each colour; a row sums to 256.
    places : ndarray (n, 3)
        Photograph, top and left of each patch.
    """

    images: list[np.ndarray]
    histograms: np.ndarray
    places: np.ndarray

    def crop(self, i: int) -> np.ndarray:
        """The pixels of patch i."""
        image, top, left = self.places[i]
        return self.images[image][top : top + SIZE, left : left + SIZE]


def load_patches(stride: int = STRIDE) -> Patches:
    """The patches of scikit-learn's two sample photographs.

    Parameters
    ----------
    stride : int
        Pixels from one patch to the next; 2 gives 128,544 patches.
    """
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    parts, places = [], []
    for number, image in enumerate(images):
        tops, lefts = (np.arange(0, length - SIZE, stride) for length in image.shape[:2])
        parts.append(patch_histograms(image, tops, lefts).reshape(-1, BINS))
        grid = np.meshgrid([number], tops, lefts, indexing="ij")
        places.append(np.stack([axis.ravel() for axis in grid], axis=1))
    return Patches(images, np.concatenate(parts), np.concatenate(places))


def patch_histograms(image: np.ndarray, tops: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Colour histograms of the patches at all pairs of `tops` and `lefts`.

    Parameters
    ----------
    image : ndarray (height, width, 3), uint8
    tops, lefts : ndarray of int

    Returns
    -------
    ndarray (tops, lefts, 64), uint16

    Notes
    -----
    One bin at a time through its integral image (Crow, "Summed-area tables", SIGGRAPH 1984), so that the working
    memory is that of one image.
    """
    top_bits = image.astype(np.uint8) >> 6
    color = top_bits[..., 0] << 4 | top_bits[..., 1] << 2 | top_bits[..., 2]
    result = np.empty((tops.size, lefts.size, BINS), np.uint16)
    area = np.zeros((image.shape[0] + 1, image.shape[1] + 1), np.int32)
    for k in range(BINS):
        np.cumsum(np.cumsum(color == k, axis=0, dtype=np.int32), axis=1, out=area[1:, 1:])
        strip = area[tops + SIZE] - area[tops]
        result[..., k] = strip[:, lefts + SIZE] - strip[:, lefts]
    return result


def run(output: Path, n_jobs: int | None = None, progress: bool = False) -> None:
    """Compute the neighbours, write ``graph.npz`` and ``neighbours.png``, print what was found.

    Parameters
    ----------
    output : Path
        Directory to write to; made if missing.
    n_jobs : int, optional
        Threads; see `klfast.show_config`.
    progress : bool
        Show a progress bar.
    """
    output.mkdir(parents=True, exist_ok=True)
    graph = files.check_output(output / "graph.npz", ".npz", [])
    picture = files.check_output(output / "neighbours.png", ".png", [])
    config = kl.show_config()
    patches = load_patches()
    n = len(patches.histograms)
    distinct = len(np.unique(patches.histograms.view(f"V{patches.histograms.itemsize * BINS}")))
    print(f"data       {n:,} patches of two photographs, each a histogram over {BINS} colours ({distinct:,} distinct)")
    print(f"question   the {K} nearest others of each, by KL (counts + {SMOOTHING} in every bin), exactly")
    print(f"running    klfast {config['version']}, {config['isa']}, {plan.n_threads(n_jobs)} threads", flush=True)
    start = time.perf_counter()
    P = kl.Categorical(counts=patches.histograms, smoothing=SMOOTHING)
    distances, indices = kl.kneighbors(P, k=K, n_jobs=n_jobs, progress=progress)
    seconds = time.perf_counter() - start
    pairs = n * (n - 1)
    memory = peak_memory()
    files.write_npz(graph, distances=distances, indices=indices)
    queries = choose_queries(patches, distances, indices)
    with files.replacing(picture) as part:
        draw(patches, distances, indices, queries).savefig(part, format="png", dpi=110)
    print(f"answered   {pairs:,} pairs in {seconds:.2f} s: {scaled(pairs / seconds)}pairs/s, peak memory {memory}")
    nearest = distances[:, 0]
    print(f"found      {np.mean(nearest == 0):.0%} of the patches share their histogram with another; of the rest, "
          f"half have a neighbour within {np.median(nearest[nearest > 0]):.4f} nats")
    print("examples   patch        KL to its nearest others")
    for q in queries[:4]:
        print(f"           {q:<12,} " + "  ".join(f"{d:.4f} (#{i:,})" for d, i in zip(distances[q, :3], indices[q])))
    print(f"wrote      {output / graph.name} (distances, indices), {output / picture.name}")


# ---- the picture -----------------------------------------------------------------------------------------------


def choose_queries(patches: Patches, distances: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Patches worth looking at: colourful, without a twin, with neighbours from elsewhere, and unlike each other."""
    here, there = patches.places[:, None], patches.places[indices]
    apart = (here[..., 0] != there[..., 0]) | (np.abs(here - there)[..., 1:].max(axis=2) >= SIZE)
    colors = (patches.histograms >= 8).sum(axis=1)
    pool = np.flatnonzero((distances[:, 0] > 0) & (apart.sum(axis=1) >= K - 3) & (colors >= 5))
    if len(pool) < QUERIES:
        pool = np.flatnonzero(distances[:, 0] > 0)
    sample = np.random.default_rng(SEED).permutation(pool)[:2000]
    # The farthest from those chosen so far, by KL itself (Gonzalez 1985).
    spread = kl.pairwise(kl.Categorical(counts=patches.histograms[sample], smoothing=SMOOTHING))
    chosen = [0]
    while len(chosen) < min(QUERIES, len(sample)):
        chosen.append(int(spread[:, chosen].min(axis=1).argmax()))
    return sample[chosen]


def draw(patches: Patches, distances: np.ndarray, indices: np.ndarray, queries: np.ndarray):
    """The photographs with the queries marked; below, each query beside its neighbours with their KL."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    colors = ["#d1495b", "#00798c"]  # a frame for each photograph
    figure = Figure(figsize=(12, 13.6), facecolor="white", layout="none")
    figure.text(0.03, 0.978, "Nearest neighbours of image patches by Kullback\N{EN DASH}Leibler divergence",
                fontsize=17, weight="bold", va="center")
    figure.text(0.03, 0.957, f"{len(patches.histograms):,} patches of {SIZE} × {SIZE} pixels, as histograms of "
                f"{BINS} colours. Frames show the photograph that a patch comes from.",
                fontsize=11, color="0.3", va="center")
    for number, image in enumerate(patches.images):
        axes = figure.add_axes((0.03 + 0.48 * number, 0.655, 0.46, 0.29))
        axes.imshow(image)
        _frame(axes, colors[number], 3)
        for position, q in enumerate(queries):
            if patches.places[q, 0] == number:
                top, left = patches.places[q, 1:]
                axes.add_patch(Rectangle((left, top), SIZE, SIZE, fill=False, edgecolor="white", linewidth=2.5))
                axes.add_patch(Rectangle((left, top), SIZE, SIZE, fill=False, edgecolor="black", linewidth=1))
                axes.text(left + SIZE + 3, top + SIZE / 2, LETTERS[position], fontsize=12, weight="bold", va="center",
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85})
    width, height, row_height = 0.068, 0.06, 0.0885
    for row, q in enumerate(queries):
        bottom = 0.565 - row * row_height
        for column, i in enumerate([q, *indices[q]]):
            left = 0.055 + column * (width + 0.0135) + (0.02 if column else 0)
            axes = figure.add_axes((left, bottom, width, height))
            axes.imshow(patches.crop(i), interpolation="nearest")
            _frame(axes, colors[patches.places[i, 0]], 2.5)
            axes.set_xlabel(f"{distances[q, column - 1]:.3f}" if column else "query", fontsize=10.5, labelpad=3,
                            color="black" if column else "0.3")
        figure.text(0.036, bottom + height / 2, LETTERS[row], fontsize=14, weight="bold", ha="center", va="center")
    figure.text(0.163, 0.634, "the ten nearest others, with KL(query ‖ neighbour) in nats", fontsize=11, color="0.3",
                va="center")
    return figure


def _frame(axes, color: str, width: float) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(color)
        spine.set_linewidth(width)
