//! Bicycles and their parts.

use super::{Category, thing};

pub(super) const BIKES: Category = Category {
    slug: "bikes",
    things: &[
        thing("Peugeot", "Peugeot PX-10 racing bicycle, 1974", 380, 620),
        thing("Bianchi", "Bianchi Via Nirone 7 road bike", 480, 720),
        thing("Brompton", "Brompton M6L folding bicycle", 750, 1_050),
        thing("Specialized", "Specialized Allez Sport", 420, 640),
        thing("Surly", "Surly Long Haul Trucker touring bike", 680, 980),
        thing("Gazelle", "Gazelle Tour Populaire, eight-speed", 340, 520),
        thing("Cannondale", "Cannondale Topstone gravel bike", 850, 1_250),
        thing("Trek", "Trek Marlin 7 hardtail", 390, 560),
        thing("Raleigh", "Raleigh Chopper Mk 2", 450, 850),
        thing("Cube", "Cube Touring Hybrid e-bike, 500 Wh", 1_150, 1_650),
        thing("Ribble", "Ribble CGR 725 steel gravel frame set", 290, 430),
        thing("Tern", "Tern Link D8 folding bicycle", 360, 520),
        thing("Koga", "Koga Miyata Traveller", 520, 790),
    ],
    traits: &["52 cm", "54 cm", "56 cm", "58 cm", "size M", "size L"],
    stories: &[
        "My commuter for two years, always kept indoors.",
        "Bought for one tour along the Danube, which it did without a flat.",
        "Too small for our son now.",
        "Three bikes, one hallway: this one has to find a new home.",
    ],
    remarks: &[
        "New chain and brake pads last month, and both wheels run true.",
        "Gears shift cleanly through the whole range.",
        "Tyres have at least two thousand kilometres left in them.",
        "Comes with lights, mudguards and a good lock.",
        "Frame number on request; the receipt comes with it.",
    ],
    breaks: true,
};
