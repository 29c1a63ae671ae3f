import pytest
from torch.optim import AdamW

from simulacra.core import Field, UserError
from simulacra.core.instantiate import check_target, instantiate

FIELD = {"_target_": "simulacra.core.spec.Field", "name": "energy"}


def test_own_classes_are_built_from_an_untrusted_configuration() -> None:
    assert instantiate(FIELD, trusted=False) == Field("energy")
    partial = instantiate(
        {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.1}, trusted=False
    )
    assert partial.func is AdamW


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "builtins.exec",
        "torch.load",
        "torch.optim.lr_scheduler.sys.exit",
        "simulacra.data.base.torch.load",
        "simulacra.data.base.logging.os.system",
        "simulacra.core.instantiate.instantiate",
        "simulacra.core.instantiate.hydra.utils.get_method",
        "simulacra.core.batch.Batch.__init__.__globals__",
        "simulacra.core.spec.math",
        "simulacra.no_such_module.run",
        "hydra.utils.get_class",
    ],
)
def test_foreign_code_is_never_run_from_an_untrusted_configuration(target: str) -> None:
    with pytest.raises(UserError, match="was not run"):
        check_target(target)
    with pytest.raises(UserError, match="was not run"):
        instantiate({**FIELD, "unit": [{"deep": {"_target_": target}}]}, trusted=False)


def test_a_user_may_allow_a_prefix() -> None:
    check_target("collections.Counter", allow=["collections"])
    with pytest.raises(UserError):
        check_target("collections.Counter")


def test_a_user_error_inside_a_constructor_stays_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        instantiate({"_target_": "simulacra.core.spec.Field"})
