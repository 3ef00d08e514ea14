"""The rules for identifiers and quantities of the business."""

import re
import unicodedata

from allocation.domain.errors import ValeurInvalide

QUANTITÉ_MIN = 1
# A lot is received with at least one unit, but may later turn out to be empty.
QUANTITÉ_LOT_MIN = 0
QUANTITÉ_MAX = 1_000_000_000
LONGUEUR_MAX = 255
# Three identifiers fit in one index row, which PostgreSQL limits to 2,704 bytes. Only an identifier that is
# mostly outside Unicode's basic plane reaches this before the limit in characters.
OCTETS_MAX = 3 * LONGUEUR_MAX

# The insides of character classes in regular expressions, also for JSON Schema.
CARACTÈRES_DE_CONTRÔLE = r"\u0000-\u001f\u007f-\u009f"
# Invisible characters: Unicode's categories Cf, Zl and Zp, its default-ignorable code points (fillers,
# variation selectors, tags), the blank Braille pattern, and the noncharacters.
CARACTÈRES_INVISIBLES = (
    r"\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ufffe\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
)
# Unicode's category Zs.
BLANCS = r" \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"

# Surrogates are refused as well: UTF-8 can't encode them.
_JAMAIS = re.compile(rf"[{CARACTÈRES_DE_CONTRÔLE}\ud800-\udfff]")
_INVISIBLE = re.compile(f"[{CARACTÈRES_INVISIBLES}]")
# Clients would remove these from a path.
SEGMENTS_RELATIFS = frozenset({".", ".."})


class Enregistré(str):
    """An identifier as stored, possibly from before the rule of `identifiant`, which accepts it unchanged."""

    __slots__ = ()


def identifiant(champ: str, valeur: object) -> str:
    """The identifier, normalised: in Unicode's form NFC, without surrounding blanks.

    Raises ValeurInvalide if it is not a text, is empty, is longer than 255 characters or 765 bytes, is `.` or
    `..`, or has control characters or invisible ones.
    """
    if isinstance(valeur, str) and (isinstance(valeur, Enregistré) or _est_simple(valeur)):
        return valeur
    # Checked before normalising, which takes long for a long text of combining marks.
    donné = enregistrable(champ, valeur)
    if invisible := _INVISIBLE.search(donné):
        code = f"U+{ord(invisible[0]):04X}"
        raise ValeurInvalide(champ, "le caractère invisible {code} est refusé", code=code)
    normal = enregistrable(champ, unicodedata.normalize("NFC", donné.strip()))
    if len(normal.encode()) > OCTETS_MAX:
        raise ValeurInvalide(champ, "au plus {max} octets en UTF-8 sont attendus", max=OCTETS_MAX)
    if normal in SEGMENTS_RELATIFS:
        raise ValeurInvalide(champ, "« . » et « .. » sont refusés")
    return normal


def enregistrable(champ: str, valeur: object) -> str:
    """The value, if it may be stored: a text of 1 to 255 characters without control characters.

    This was once the whole rule for identifiers, so all stored ones satisfy it. Raises ValeurInvalide.
    """
    if not isinstance(valeur, str):
        raise ValeurInvalide(champ, "un texte est attendu")
    if not 1 <= len(valeur) <= LONGUEUR_MAX:
        raise ValeurInvalide(
            champ,
            "de 1 à {max} caractères sont attendus, non {longueur}",
            max=LONGUEUR_MAX,
            longueur=len(valeur),
        )
    if _JAMAIS.search(valeur):
        raise ValeurInvalide(champ, "les caractères de contrôle sont refusés")
    return valeur


def _est_simple(texte: str) -> bool:
    """A fast check whether the text needs no normalising, as is the case for nearly all identifiers."""
    return (
        texte.isascii()
        and texte.isprintable()
        and 1 <= len(texte) <= LONGUEUR_MAX
        and texte[0] != " " != texte[-1]
        and texte not in SEGMENTS_RELATIFS
    )


def vérifier_quantité(champ: str, valeur: object, *, au_moins: int = QUANTITÉ_MIN) -> None:
    """Raise ValeurInvalide unless `valeur` is a whole number of units from `au_moins` to 1,000,000,000."""
    if not isinstance(valeur, int) or isinstance(valeur, bool):
        raise ValeurInvalide(champ, "un nombre entier d'unités est attendu")
    if not au_moins <= valeur <= QUANTITÉ_MAX:
        raise ValeurInvalide(
            champ,
            "de {min} à {max} unités sont attendues, non {valeur}",
            min=au_moins,
            max=QUANTITÉ_MAX,
            valeur=valeur,
        )
