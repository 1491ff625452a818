//! Toys and models.

use super::{Category, thing};

pub(super) const TOYS: Category = Category {
    slug: "toys",
    things: &[
        thing("LEGO", "LEGO 10255 Assembly Square", 170, 240),
        thing("LEGO", "LEGO 6285 Black Seas Barracuda", 210, 380),
        thing("LEGO", "LEGO Technic 42083 Bugatti Chiron", 190, 270),
        thing("Märklin", "Märklin H0 class 23 steam locomotive", 110, 190),
        thing("Brio", "Brio wooden railway, 60 pieces", 40, 75),
        thing("Steiff", "Steiff teddy bear, 35 cm, with button", 60, 130),
        thing("Playmobil", "Playmobil 3666 knights' castle", 70, 120),
        thing("Corgi", "Corgi 261 James Bond Aston Martin DB5", 90, 210),
        thing("Meccano", "Meccano set No. 8", 60, 110),
        thing("Hornby", "Hornby Flying Scotsman train set", 90, 150),
        thing("Matchbox", "Matchbox Superfast lot of twenty", 45, 95),
        thing("Tamiya", "Tamiya Grasshopper radio-controlled car", 85, 140),
        thing("Ravensburger", "Ravensburger puzzle, 18,000 pieces", 65, 110),
    ],
    traits: &[
        "complete with instructions",
        "boxed",
        "adult owned",
        "from a smoke-free home",
        "display piece",
        "from a collector's estate",
    ],
    stories: &[
        "The children are taller than the shelf it stood on.",
        "Built once, admired for a year behind glass.",
        "From a collection that filled a room and now has to fit into a cupboard.",
        "My own, from 1985, and kept in its box ever since.",
    ],
    remarks: &[
        "Checked against the parts list; nothing is missing.",
        "Runs as it should and was oiled before the pictures.",
        "The box is worn at the edges, the contents are not.",
        "Washed, counted and packed in bags by number.",
        "Colours are fresh: it never stood in the sun.",
    ],
    breaks: true,
};
