r"""Splitting kernels as sums of known terms with coefficients that may be asked for.

A parton of flavour :math:`f` splits into shares :math:`z` and :math:`1 - z` of its momentum at a rate

.. math:: \frac{dP}{d\ln(1/\theta)\, dz} = \frac{\alpha_s}{\pi} \sum_k c_k\, P_k(z, y),

with the terms :math:`P_k` of that flavour. Each has an upper bound :math:`b_k\,g(z)`,
:math:`g(z) = 1/z + 1/(1 - z)`, for the veto algorithm; :math:`y \le 1` is the squared mass of the
splitting in units of the largest one of the jet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, ones_like

from simulacra.core.constructors import role
from simulacra.core.ranges import NotNegative, Positive

C_F, C_A, T_R, FLAVOURS = 4 / 3, 3.0, 0.5, 5
"""Colour factors of QCD, and how many kinds of quarks a gluon splits into."""
QUARK, GLUON = 0, 1


@dataclass(frozen=True)
class Term:
    """One term of a kernel.

    Args:
        name: Name of its coefficient.
        mother: Flavour that splits.
        daughters: Flavours with the shares ``z`` and ``1 - z``.
        density: ``P(z, y)``, at least 0.
        bound: ``b``, at least ``P(z, y) / (1 / z + 1 / (1 - z))``.
    """

    name: str
    mother: int
    daughters: tuple[int, int]
    density: Callable[[Tensor, Tensor], Tensor]
    bound: float


@role
class Kernels(ABC):
    """What partons split by."""

    @property
    @abstractmethod
    def terms(self) -> Sequence[Term]:
        """All terms, those of one flavour together or not."""

    @property
    @abstractmethod
    def coefficients(self) -> Sequence[float]:
        """One of each term, at least 0."""


@dataclass(frozen=True)
class AltarelliParisi(Kernels):
    r"""Partons of one kind with :math:`C_F (1 + z^2) / (1 - z)`, where ``z`` is the share of the first
    daughter.
    """

    @property
    def terms(self) -> Sequence[Term]:
        """The one term."""
        return [Term("P", 0, (0, 0), lambda z, y: C_F * (1 + z.square()) / (1 - z), 2 * C_F)]

    @property
    def coefficients(self) -> Sequence[float]:
        """Of QCD."""
        return [1.0]


@dataclass(frozen=True)
class Flat(Kernels):
    """Partons of one kind that split evenly in ``z``: a control.

    Args:
        height: The kernel.
    """

    height: Positive = 1.0

    @property
    def terms(self) -> Sequence[Term]:
        """The one term."""
        return [Term("P", 0, (0, 0), lambda z, y: ones_like(z), 0.25)]

    @property
    def coefficients(self) -> Sequence[float]:
        """The height."""
        return [self.height]


@dataclass(frozen=True)
class QuarksAndGluons(Kernels):
    r"""Kernels of quarks and gluons with a coefficient for each kind of term.

    .. math:: P_{qq} = C_F \left[D\,\frac{2z(1-y)}{1-z(1-y)} + F\,(1-z) + C\,yz(1-z)\right],

    .. math:: P_{gg} = C_A \left[D \left(\frac{z(1-y)}{1-z(1-y)} + \frac{(1-z)(1-y)}{1-(1-z)(1-y)}\right)
              + F\,z(1-z) + C\,yz(1-z)\right],

    .. math:: P_{gq} = n_f T_R \left[F\,(z^2 + (1-z)^2) + C\,yz(1-z)\right].

    In QCD every D and F is 1 and every C is 0. The kernel of two like gluons is halved, since ``z`` runs over
    both of them.

    Args:
        d_qq: Soft gluons of a quark.
        f_qq: Finite term of a quark.
        c_qq: Rest term of a quark.
        d_gg: Soft gluons of a gluon.
        f_gg: Finite term of a gluon.
        c_gg: Rest term of a gluon.
        f_gq: Finite term of a gluon that becomes quarks.
        c_gq: Rest term of the same.

    Reference: Bieringer et al., arXiv:2012.09873, for the parametrisation by three kinds of terms.
    """

    d_qq: NotNegative = 1.0
    f_qq: NotNegative = 1.0
    c_qq: NotNegative = 0.0
    d_gg: NotNegative = 1.0
    f_gg: NotNegative = 1.0
    c_gg: NotNegative = 0.0
    f_gq: NotNegative = 1.0
    c_gq: NotNegative = 0.0

    @property
    def terms(self) -> Sequence[Term]:
        """Eight terms."""
        quark, gluon, pair = (QUARK, GLUON), (GLUON, GLUON), (QUARK, QUARK)
        many = FLAVOURS * T_R
        return [
            Term("d_qq", QUARK, quark, lambda z, y: 2 * C_F * soft(z, y), 2 * C_F),
            Term("f_qq", QUARK, quark, lambda z, y: C_F * (1 - z), C_F / 4),
            Term("c_qq", QUARK, quark, lambda z, y: C_F * rest(z, y), C_F / 16),
            Term("d_gg", GLUON, gluon, lambda z, y: C_A * (soft(z, y) + soft(1 - z, y)), C_A),
            Term("f_gg", GLUON, gluon, lambda z, y: C_A * z * (1 - z), C_A / 16),
            Term("c_gg", GLUON, gluon, lambda z, y: C_A * rest(z, y), C_A / 16),
            Term(
                "f_gq", GLUON, pair, lambda z, y: many * (z.square() + (1 - z).square()), many / 4
            ),
            Term("c_gq", GLUON, pair, lambda z, y: many * rest(z, y), many / 16),
        ]

    @property
    def coefficients(self) -> Sequence[float]:
        """Those of the arguments."""
        return [getattr(self, term.name) for term in self.terms]


def soft(z: Tensor, y: Tensor) -> Tensor:
    """The singular part, where the other share is soft."""
    kept = z * (1 - y)
    return kept / (1 - kept)


def rest(z: Tensor, y: Tensor) -> Tensor:
    """What is left, at large mass."""
    return y * z * (1 - z)
