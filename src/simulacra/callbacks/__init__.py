"""Lightning callbacks: physics validation, the classifier test, moving averages, determinism, throughput."""

import pytorch_lightning as pl

from simulacra.core.constructors import role

role(pl.Callback, __name__)
