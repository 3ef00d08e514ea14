"""What every identifier and every quantity of the business must be."""

import re

from allocation.domain.errors import ValeurInvalide

QUANTITÉ_MIN = 1
# Once received, a lot may be found to hold nothing any more.
QUANTITÉ_LOT_MIN = 0
QUANTITÉ_MAX = 1_000_000_000
LONGUEUR_MAX = 255

# Unicode's control characters (category Cc), as the inside of a character class of a regular expression.
CARACTÈRES_DE_CONTRÔLE = r"\u0000-\u001f\u007f-\u009f"

# Surrogates are refused as well: no UTF-8 text can hold one.
_INTERDIT = re.compile(rf"[{CARACTÈRES_DE_CONTRÔLE}\ud800-\udfff]")


def vérifier_identifiant(champ: str, valeur: object) -> None:
    """Raise ValeurInvalide unless `valeur` is a text of 1 to 255 characters without control characters."""
    if not isinstance(valeur, str):
        raise ValeurInvalide(champ, "un texte est attendu")
    if not 1 <= len(valeur) <= LONGUEUR_MAX:
        raise ValeurInvalide(champ, f"de 1 à {LONGUEUR_MAX} caractères sont attendus, non {len(valeur)}")
    if _INTERDIT.search(valeur):
        raise ValeurInvalide(champ, "les caractères de contrôle sont refusés")


def vérifier_quantité(champ: str, valeur: object, *, au_moins: int = QUANTITÉ_MIN) -> None:
    """Raise ValeurInvalide unless `valeur` is a whole number of units from `au_moins` to 1,000,000,000."""
    if not isinstance(valeur, int) or isinstance(valeur, bool):
        raise ValeurInvalide(champ, "un nombre entier d'unités est attendu")
    if not au_moins <= valeur <= QUANTITÉ_MAX:
        raise ValeurInvalide(champ, f"de {au_moins} à {QUANTITÉ_MAX} unités sont attendues, non {valeur}")
