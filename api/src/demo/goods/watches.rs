//! Watches.

use super::{Category, thing};

pub(super) const WATCHES: Category = Category {
    slug: "watches",
    things: &[
        thing("Seiko", "Seiko SKX007 diver's watch", 190, 320),
        thing("Seiko", "Seiko 5 SNK809 field watch", 60, 110),
        thing("Omega", "Omega Seamaster 300M ref. 2531.80", 1_900, 2_800),
        thing("Omega", "Omega Genève manual wind, steel", 420, 680),
        thing("Tissot", "Tissot PRX quartz 40 mm, blue dial", 230, 310),
        thing("Hamilton", "Hamilton Khaki Field Mechanical 38 mm", 280, 390),
        thing("Casio", "Casio G-Shock DW-5600E", 35, 60),
        thing("Longines", "Longines Conquest automatic, 1970s", 450, 780),
        thing("Tudor", "Tudor Black Bay 58", 2_300, 2_900),
        thing("Citizen", "Citizen Promaster Eco-Drive diver", 120, 190),
        thing("Nomos", "Nomos Tangente 35", 950, 1_350),
        thing("Cartier", "Cartier Tank Solo, large, quartz", 1_700, 2_300),
        thing("Swatch", "Swatch Jelly Fish GK100", 70, 140),
    ],
    traits: &[
        "with box and papers",
        "recently serviced",
        "on a new leather strap",
        "one owner from new",
        "with service receipts",
        "from a small collection",
    ],
    stories: &[
        "Bought in 2016 and worn at weekends since.",
        "From my late father's collection, which the family is reducing.",
        "I have one watch too many, and this is the one that stays in the drawer.",
        "A present that I never quite got used to on my wrist.",
    ],
    remarks: &[
        "Keeps time to a few seconds a day; the crown screws down as it should.",
        "The crystal is free of chips and the lume still glows for an hour or two.",
        "The bracelet has two spare links, which I include.",
        "Case back opened once, by a watchmaker, whose stamp is inside.",
        "Fits wrists up to 19 cm; the clasp closes with a proper click.",
    ],
    breaks: true,
};
