//! Games, on a screen or on a table.

use super::{Category, thing};

pub(super) const GAMES: Category = Category {
    slug: "games",
    things: &[
        thing("Nintendo", "Nintendo Switch OLED console", 190, 250),
        thing("Nintendo", "Nintendo 64 console with two controllers", 80, 130),
        thing("Nintendo", "Super Nintendo: A Link to the Past", 38, 75),
        thing("Sony", "Sony PlayStation 5, disc edition", 330, 410),
        thing("Sony", "Sony PlayStation 2 slim with eight games", 60, 100),
        thing("Valve", "Steam Deck 256 GB", 280, 350),
        thing("Kosmos", "Catan, German first edition", 25, 55),
        thing("Hans im Glück", "Carcassonne Big Box", 32, 55),
        thing("Cephalofair", "Gloomhaven", 55, 95),
        thing("Stonemaier", "Wingspan with European expansion", 40, 65),
        thing("Sega", "Sega Mega Drive II with Sonic", 55, 95),
        thing("Microsoft", "Xbox Series S", 140, 190),
        thing("Days of Wonder", "Ticket to Ride Europe", 20, 35),
    ],
    traits: &[
        "complete in box",
        "boxed with manual",
        "checked and complete",
        "from a collector",
        "adult owned",
        "from a smoke-free home",
    ],
    stories: &[
        "Our group has moved on to other evenings and this one only gathers dust.",
        "Mine since it came out; I finished what I wanted to finish.",
        "A birthday present for somebody who already had one.",
        "From a collection of which I keep only the cartridges of my childhood.",
    ],
    remarks: &[
        "Everything has been counted against the list in the manual.",
        "Tested for an evening before listing, with all ports and buttons.",
        "The box has one dented corner, the inside is as it should be.",
        "Comes with all cables, originals throughout.",
        "No scratches on the discs or screen.",
    ],
    breaks: true,
};
