"""How many SKUs a step of a rebuild takes from the write model."""

from allocation.projections.rebuild_steps import FIRST_SKUS, MAX_SKUS, STEP_S, StepSize


def test_après_une_étape_rapide_la_suivante_prend_le_double() -> None:
    size = StepSize()

    size.adapt(STEP_S / 4)

    assert size.skus == 2 * FIRST_SKUS


def test_après_une_étape_trop_longue_la_suivante_prend_la_moitié() -> None:
    size = StepSize()

    size.adapt(2 * STEP_S)

    assert size.skus == FIRST_SKUS // 2


def test_une_étape_de_bonne_durée_ne_change_rien() -> None:
    size = StepSize()

    size.adapt(0.75 * STEP_S)

    assert size.skus == FIRST_SKUS


def test_une_étape_prend_au_moins_un_sku_et_pas_plus_que_la_limite() -> None:
    lente, rapide = StepSize(), StepSize()

    for _ in range(32):
        lente.adapt(2 * STEP_S)
        rapide.adapt(0)

    assert (lente.skus, rapide.skus) == (1, MAX_SKUS)
