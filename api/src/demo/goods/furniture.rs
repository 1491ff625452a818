//! Furniture and lamps.

use super::{Category, made, thing};

pub(super) const FURNITURE: Category = Category {
    slug: "furniture",
    things: &[
        made("Danish teak sideboard, 1960s", 480, 860),
        thing("Ercol", "Ercol Windsor dining chair", 85, 150),
        thing("Vitra", "Eames DSW chair by Vitra", 210, 320),
        made("Oak farmhouse table, seats eight", 390, 640),
        thing("Thonet", "Thonet No. 14 bentwood chair", 110, 190),
        thing("IKEA", "IKEA Ivar shelving, three sections", 70, 120),
        thing("Anglepoise", "Anglepoise 1227 desk lamp", 95, 160),
        made("Victorian chest of drawers, pine", 180, 310),
        thing("Artek", "Artek Stool 60, birch", 130, 190),
        thing("USM", "USM Haller media unit, white", 620, 940),
        made("Leather club armchair, cognac", 260, 450),
        thing("String", "String Pocket shelf, walnut", 90, 140),
        thing("Louis Poulsen", "Louis Poulsen PH 5 pendant lamp", 380, 540),
    ],
    traits: &[
        "recently re-oiled",
        "from a smoke-free home",
        "local delivery possible",
        "one of a pair",
        "ex display",
        "dismantled for transport",
    ],
    stories: &[
        "We are moving somewhere smaller and it does not fit through the new stairs.",
        "From a dentist's waiting room, where nobody ever sat on it for long.",
        "Bought from a dealer in 2014; the invoice is in the drawer.",
        "It stood in the spare room, which is a nursery now.",
    ],
    remarks: &[
        "All joints are firm; nothing wobbles.",
        "One ring mark on the top, which a bit of wax would lift.",
        "Collection from the ground floor, and I will help to carry.",
        "Measurements are in the pictures; please check your door first.",
        "The maker's label is still underneath.",
    ],
    breaks: false,
};
