"""What Med-K2N is compared with: each a `Method`, trained or fitted on the same cases with the same budget.

In: training cases. Out: methods for `training.evaluate`. Never: a look at the truth, but where the name says oracle.
"""

from __future__ import annotations

from training.peers.budget import train_all
from training.peers.catalogue import PEERS, labels_of, network_gflop
from training.peers.fit import PeerMethod, load_peers, train_peer
from training.peers.method import Method, brain_slices, connected, source_slices
from training.peers.nets import PlainUNet, dyn_unet
from training.peers.simple import Constant, Copy, Ridge, load_simple, save_simple

__all__ = [
    "PEERS",
    "Constant",
    "Copy",
    "Method",
    "PeerMethod",
    "PlainUNet",
    "Ridge",
    "brain_slices",
    "connected",
    "dyn_unet",
    "labels_of",
    "load_peers",
    "load_simple",
    "network_gflop",
    "save_simple",
    "source_slices",
    "train_all",
    "train_peer",
]
