"""What makes invented data look Chilean: RUTs with a right check digit, names, places.

Everything here is invented; a generated RUT may by chance be somebody's, as with every number of that form.
"""

import re

WEIGHTS = (2, 3, 4, 5, 6, 7)
_RUT = re.compile(r"(?P<number>[1-9]\d{5,7})-(?P<digit>[\dK])")

GIVEN = (
    "Camila", "Benjamín", "Íñigo", "Antonia", "José", "María", "Begoña", "Vicente", "Sofía", "Matías",
    "Catalina", "Agustín", "Isidora", "Joaquín", "Fernanda", "Úrsula", "Tomás", "Javiera", "Nicolás", "Rocío",
)  # fmt: skip
FAMILY = (
    "Muñoz", "Núñez", "González", "Rojas", "Díaz", "Pérez", "Soto", "Contreras", "Silva", "Martínez",
    "Sepúlveda", "Peña", "Araya", "Fuentes", "Espinoza", "Valdés", "Águila", "Cárdenas", "Huenchumilla", "Ibáñez",
)  # fmt: skip
COMUNAS = (
    "Ñuñoa", "Providencia", "Maipú", "Peñalolén", "Valparaíso", "Viña del Mar", "Concepción", "Chillán",
    "Temuco", "Valdivia", "Puerto Montt", "Punta Arenas", "Antofagasta", "Iquique", "La Serena", "Copiapó",
)  # fmt: skip
REGIONS = (
    "Región Metropolitana de Santiago", "Valparaíso", "Biobío", "La Araucanía", "Los Ríos", "Los Lagos",
    "Magallanes y de la Antártica Chilena", "Antofagasta", "Tarapacá", "Coquimbo", "Atacama", "Ñuble",
)  # fmt: skip


def check_digit(number: int) -> str:
    """Return the check digit of a RUT's number: modulo 11; 11 is written 0 and 10 is written K."""
    total = sum(int(digit) * WEIGHTS[place % 6] for place, digit in enumerate(reversed(str(number))))
    rest = 11 - total % 11
    return {11: "0", 10: "K"}.get(rest, str(rest))


def rut(number: int) -> str:
    """Return the RUT of a number, without dots: 76543210-3."""
    return f"{number}-{check_digit(number)}"


def is_valid_rut(text: str) -> bool:
    """Tell whether a text is a RUT without dots whose check digit is right."""
    match = _RUT.fullmatch(text)
    return match is not None and check_digit(int(match["number"])) == match["digit"]
