"""What is raised where an answer can't be as fresh as it must be."""

from allocation.adapters.journal.tokens import ConsistencyToken
from allocation.domain.errors import AllocationError


class JetonInconnu(AllocationError):
    """The journal has no event with this token, and waiting will not produce one. → 412"""

    def __init__(self, jeton: ConsistencyToken) -> None:
        super().__init__(
            f"Le jeton {jeton} ne désigne aucun événement de ce journal : il vient d'une autre histoire "
            "de la base, ou n'a jamais été donné"
        )
        self.jeton = str(jeton)


class NotFresh(AllocationError):
    """The view has not reached the position that was asked for."""

    def __init__(self, message: str, *, projection: str, position: int, position_attendue: int) -> None:
        super().__init__(
            f"{message} : {projection} est à la position {position}, {position_attendue} est attendue"
        )
        self.projection = projection
        self.position = position
        self.position_attendue = position_attendue


class ViewLate(NotFresh):
    """The view did not reach the position in time; it may a moment later."""

    def __init__(self, *, projection: str, position: int, position_attendue: int) -> None:
        super().__init__(
            "Vue en retard", projection=projection, position=position, position_attendue=position_attendue
        )


class ProjectionPaused(NotFresh):
    """The view stays where it is until its projection is resumed; `raison` says why that is paused."""

    def __init__(self, *, projection: str, position: int, position_attendue: int, raison: str) -> None:
        super().__init__(
            f"Projection en pause ({raison})" if raison else "Projection en pause",
            projection=projection,
            position=position,
            position_attendue=position_attendue,
        )
        self.raison = raison
