"""What the energy of a run means where it was used: CO2 by the country's electricity, and money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lang_configs.schema import Runtime

SOURCE = "Ember, Yearly Electricity Data, by way of Our World in Data"


@dataclass(frozen=True)
class Grid:
    """Grams of CO2 equivalent per kWh of electricity made in a country, over the whole life of the plants."""

    name: str
    grams: float
    year: int
    verified: bool = True
    """Whether the figure was read in a copy of the source; the others are from memory and may be off by some per cent."""


WORLD = Grid("world average", 481, 2023)
GRIDS = {  # ISO 3166-1 alpha-2
    "AO": Grid("Angola", 196, 2021),
    "AU": Grid("Australia", 549, 2023),
    "BF": Grid("Burkina Faso", 611, 2021),
    "BI": Grid("Burundi", 250, 2021),
    "BJ": Grid("Benin", 667, 2021),
    "BR": Grid("Brazil", 98, 2023),
    "CA": Grid("Canada", 170, 2023),
    "CD": Grid("DR Congo", 25, 2021),
    "CG": Grid("Congo", 396, 2021),
    "CI": Grid("Côte d'Ivoire", 411, 2021),
    "CM": Grid("Cameroon", 278, 2021),
    "CN": Grid("China", 582, 2023),
    "DE": Grid("Germany", 381, 2023),
    "DJ": Grid("Djibouti", 667, 2021),
    "DZ": Grid("Algeria", 499, 2021),
    "EG": Grid("Egypt", 563, 2025),
    "ER": Grid("Eritrea", 689, 2021),
    "ET": Grid("Ethiopia", 23, 2025),
    "EU": Grid("European Union", 244, 2023, verified=False),
    "FI": Grid("Finland", 79, 2023),
    "FR": Grid("France", 56, 2023),
    "GB": Grid("United Kingdom", 238, 2023, verified=False),
    "GH": Grid("Ghana", 469, 2024),
    "IE": Grid("Ireland", 291, 2023),
    "IN": Grid("India", 713, 2023),
    "KE": Grid("Kenya", 95, 2025),
    "KM": Grid("Comoros", 714, 2021),
    "NG": Grid("Nigeria", 456, 2025),
    "RW": Grid("Rwanda", 294, 2021),
    "SD": Grid("Sudan", 264, 2021),
    "SL": Grid("Sierra Leone", 48, 2021),
    "SN": Grid("Senegal", 523, 2021),
    "SO": Grid("Somalia", 634, 2021),
    "SS": Grid("South Sudan", 684, 2021),
    "SZ": Grid("Eswatini", 189, 2021),
    "TD": Grid("Chad", 677, 2021),
    "TG": Grid("Togo", 460, 2021),
    "TZ": Grid("Tanzania", 345, 2024),
    "UG": Grid("Uganda", 45, 2023),
    "US": Grid("United States", 369, 2023),
    "ZA": Grid("South Africa", 699, 2025),
}


def grid(country: str | None) -> tuple[Grid, str]:
    """The electricity of a country, and in words which figure that is; of no or another country the world's average."""
    found = GRIDS.get(country or "", WORLD)
    words = f"{found.name} {found.year}" + ("" if found.verified else ", not verified")
    if found is WORLD:
        words += f"; no figure for {country}" if country else "; runtime.country is not set"
    return found, words


def footprint(kwh: float, place: Runtime) -> dict[str, Any]:
    """Country, its grams of CO2 equivalent per kWh, the grams of `kwh`, and what it costs; None for what is not known."""
    found, words = grid(place.country)
    price = place.price_per_kwh
    return {
        "country": place.country,
        "grid": words,
        "grid_grams_per_kwh": found.grams,
        "co2_grams": round(kwh * found.grams, 4),
        "cost": None if price is None else round(kwh * price, 6),
        "currency": None if price is None else place.currency,
    }
