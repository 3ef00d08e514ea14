"""One transaction, and the products that were used in it."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from sqlalchemy.orm import Session, sessionmaker

from benchmarks.naive.events import Event
from benchmarks.naive.model import Produit


class SqlAlchemyRepository:
    """Products by SKU."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.seen: set[Produit] = set()

    def add(self, produit: Produit) -> None:
        """Store a new product."""
        self.seen.add(produit)
        self._session.add(produit)

    def get(self, sku: str) -> Produit | None:
        """The product, with everything that belongs to it."""
        produit = self._session.get(Produit, sku)
        if produit is not None:
            self.seen.add(produit)
        return produit


class SqlAlchemyUnitOfWork:
    """`with uow:` opens, `commit` keeps, leaving without it undoes."""

    def __init__(self, new_session: sessionmaker[Session]) -> None:
        self._new_session = new_session

    def __enter__(self) -> Self:
        self.session = self._new_session()
        self.produits = SqlAlchemyRepository(self.session)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.session.rollback()
        self.session.close()

    def commit(self) -> None:
        """Keep the changes."""
        self.session.commit()

    def collect_new_events(self) -> Iterator[Event]:
        """What the products have emitted."""
        for produit in self.produits.seen:
            while produit.events:
                yield produit.events.pop(0)
