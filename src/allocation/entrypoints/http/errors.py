"""Where errors meet HTTP: one table from what went wrong to a status and a stable type (RFC 9457)."""

from dataclasses import dataclass

from allocation.adapters.postgresql.database import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    ValueRefused,
    VersionConflict,
)
from allocation.adapters.postgresql.read_servers import TooManyFallBacks, TooManyWaiting
from allocation.domain.errors import (
    LigneModifiée,
    LotExistant,
    LotInconnu,
    RéférenceAmbiguë,
    SkuInconnu,
    StockInsuffisant,
    ValeurInvalide,
)
from allocation.entrypoints.http.refusals import ChampsInvalides, Introuvable, JsonMalformé
from allocation.entrypoints.http.words import Words
from allocation.projections.rebuild import RebuildRefused
from allocation.service_layer.group_commit import GaveUp, QueueFull
from allocation.views.instants import InstantFutur, JournalEnAvance
from allocation.views.past_view import HistoireArchivée
from allocation.views.staleness import JetonInconnu, ProjectionPaused, ViewLate

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """What a client can count on: the status, the last part of `type`, and the title.

    `{0}` in its detail is what the error says itself, `{0.attribute}` one of its facts.
    """

    status: int
    slug: str
    title: Words
    detail: Words

    @property
    def type(self) -> str:
        """The stable identifier of this kind of refusal."""
        return f"urn:allocation:{self.slug}"


_AGAIN = Words(
    "Rien n'a été confirmé ; la même requête peut être répétée.",
    "Nothing was confirmed; the same request may be repeated.",
)

PROBLEMS: dict[type[Exception], Problem] = {
    JsonMalformé: Problem(
        400,
        "json-malformé",
        Words("JSON malformé", "Malformed JSON"),
        Words("Le corps n'est pas du JSON en UTF-8 ({0.place})", "The body is not JSON in UTF-8: {0}"),
    ),
    SkuInconnu: Problem(
        400, "sku-inconnu", Words("SKU inconnu", "Unknown SKU"), Words("{0}", "Unknown SKU: {0.sku}")
    ),
    LotInconnu: Problem(
        404, "lot-inconnu", Words("Lot inconnu", "Unknown lot"), Words("{0}", "Unknown lot: {0.réf_lot}")
    ),
    Introuvable: Problem(404, "introuvable", Words("Introuvable", "Not found"), Words("{0}", "{0.words.en}")),
    StockInsuffisant: Problem(
        409,
        "rupture-de-stock",
        Words("Rupture de stock", "Out of stock"),
        Words(
            "{0}",
            "Out of stock: {0.quantité_demandée} units of {0.sku} are asked for, the roomiest lot has "
            "{0.quantité_disponible}",
        ),
    ),
    LigneModifiée: Problem(
        409,
        "ligne-modifiée",
        Words("Ligne modifiée", "Changed line"),
        Words(
            "{0}",
            "Line {0.ligne} of order {0.id_commande} for {0.sku} is known with quantity "
            "{0.quantité_connue}, not {0.quantité_demandée}",
        ),
    ),
    LotExistant: Problem(
        409,
        "lot-existant",
        Words("Lot existant", "Existing lot"),
        Words("{0}", "Another lot of the SKU {0.sku} has this reference already: {0.réf_lot}"),
    ),
    RéférenceAmbiguë: Problem(
        409,
        "référence-ambiguë",
        Words("Référence ambiguë", "Ambiguous reference"),
        Words("{0}", "Lots of several SKUs have this reference, name the SKU: {0.réf_lot}"),
    ),
    RebuildRefused: Problem(
        409,
        "reconstruction-impossible",
        Words("Reconstruction impossible", "Impossible rebuild"),
        Words("Cette projection ne peut pas être reconstruite depuis cette source.", "{0}"),
    ),
    JournalEnAvance: Problem(
        409,
        "journal-en-avance",
        Words("Journal en avance sur l'horloge", "Journal ahead of the clock"),
        Words(
            "{0}",
            "The clock of the database, at {0.horloge}, was put back: what follows is dated {0.suivant} or "
            "later, and until then what was at {0.instant} can't be told; the present is read without an "
            "instant",
        ),
    ),
    HistoireArchivée: Problem(
        410,
        "archivé",
        Words("Archivé", "Archived"),
        Words(
            "{0}",
            "The journal up to {0.horizon} is archived; the state before that is no longer known",
        ),
    ),
    JetonInconnu: Problem(
        412,
        "jeton-inconnu",
        Words("Jeton inconnu", "Unknown token"),
        Words(
            "{0}",
            "Token {0.jeton} names no event of this journal: it comes from another history of the database, "
            "or was never given",
        ),
    ),
    InstantFutur: Problem(
        422,
        "instant-futur",
        Words("Instant à venir", "Instant to come"),
        Words("{0}", "{0.instant} is to come: the clock of the database is at {0.horloge}"),
    ),
    ChampsInvalides: Problem(
        422,
        "champs-invalides",
        Words("Champs invalides", "Invalid fields"),
        Words("{0}", "{0}"),
    ),
    ValeurInvalide: Problem(
        422, "valeur-invalide", Words("Valeur invalide", "Invalid value"), Words("{0}", "{0}")
    ),
    ValueRefused: Problem(
        422,
        "valeur-refusée",
        Words("Valeur refusée par la base de données", "Value refused by the database"),
        Words("La base de données refuse cette valeur : {0}", "The database refuses this value: {0}"),
    ),
    QueueFull: Problem(503, "file-pleine", Words("File d'attente pleine", "Queue full"), _AGAIN),
    GaveUp: Problem(503, "attente-trop-longue", Words("Attente trop longue", "Waited too long"), _AGAIN),
    VersionConflict: Problem(
        503, "trop-d-écrivains", Words("Trop d'écritures simultanées", "Too many writers at once"), _AGAIN
    ),
    StorageUnavailable: Problem(
        503, "base-indisponible", Words("Base de données indisponible", "Database unavailable"), _AGAIN
    ),
    Locked: Problem(503, "verrou-tenu", Words("Verrou tenu par un autre", "Lock held by another"), _AGAIN),
    OutcomeUnknown: Problem(503, "issue-inconnue", Words("Issue inconnue", "Outcome unknown"), _AGAIN),
    ViewLate: Problem(
        503,
        "vue-en-retard",
        Words("Vue en retard", "View behind"),
        Words(
            "{0}",
            "View behind: {0.projection} is at position {0.position}, {0.position_attendue} is expected",
        ),
    ),
    ProjectionPaused: Problem(
        503,
        "projection-en-pause",
        Words("Projection en pause", "Projection paused"),
        Words(
            "{0}",
            "Projection paused ({0.raison}): {0.projection} is at position {0.position}, "
            "{0.position_attendue} is expected",
        ),
    ),
    TooManyWaiting: Problem(
        503,
        "trop-de-lectures-en-attente",
        Words("Trop de lectures en attente", "Too many reads are waiting"),
        _AGAIN,
    ),
    TooManyFallBacks: Problem(
        503,
        "trop-de-lectures-repliées",
        Words("Trop de lectures repliées sur la base", "Too many reads have fallen back on the primary"),
        _AGAIN,
    ),
}

HTTP_PROBLEMS = {
    404: Problem(
        404,
        "introuvable",
        Words("Introuvable", "Not found"),
        Words("Rien ne se trouve à cette adresse.", "There is nothing at this address."),
    ),
    405: Problem(
        405,
        "méthode-refusée",
        Words("Méthode refusée", "Method not allowed"),
        Words("Cette adresse n'accepte pas cette méthode.", "This address does not take this method."),
    ),
    408: Problem(
        408,
        "corps-trop-lent",
        Words("Corps trop lent", "Body too slow"),
        Words(
            "Le corps de la requête n'est pas venu à temps.", "The body of the request did not come in time."
        ),
    ),
    413: Problem(
        413,
        "corps-trop-grand",
        Words("Corps trop grand", "Body too large"),
        Words("Le corps de la requête dépasse 64 Kio.", "The body of the request is larger than 64 KiB."),
    ),
    415: Problem(
        415,
        "type-de-contenu-refusé",
        Words("Type de contenu refusé", "Content type not accepted"),
        Words("Content-Type: application/json est attendu.", "Content-Type: application/json is expected."),
    ),
}

INTERNAL = Problem(
    500,
    "erreur-interne",
    Words("Erreur interne", "Internal error"),
    Words("L'erreur est inscrite au journal du serveur.", "The error is in the log of the server."),
)
