"""One loader per data set, and their stand-ins. The files' way here is `source`'s business."""

from svae_repro.data.circle import Circle, circle_map, load_circle
from svae_repro.data.lfw import load_lfw
from svae_repro.data.mnist import Images, Pixels, load_mnist
from svae_repro.data.planetoid import CitationGraphs, EdgeSplit, Graph, load_planetoid, split_edges
from svae_repro.data.qm9 import Angles, Dihedrals, Molecule, load_qm9

__all__ = [
    "Angles",
    "Circle",
    "CitationGraphs",
    "Dihedrals",
    "EdgeSplit",
    "Graph",
    "Images",
    "Molecule",
    "Pixels",
    "circle_map",
    "load_circle",
    "load_lfw",
    "load_mnist",
    "load_planetoid",
    "load_qm9",
    "split_edges",
]
