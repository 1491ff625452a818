//! Telephones.

use super::{Category, thing};

pub(super) const PHONES: Category = Category {
    slug: "phones",
    things: &[
        thing("Apple", "Apple iPhone 13", 290, 380),
        thing("Apple", "Apple iPhone 12 mini", 170, 240),
        thing("Apple", "Apple iPhone 14 Pro", 520, 660),
        thing("Apple", "Apple iPhone SE (2022)", 150, 210),
        thing("Samsung", "Samsung Galaxy S22", 240, 320),
        thing("Samsung", "Samsung Galaxy A54", 150, 210),
        thing("Google", "Google Pixel 7", 210, 290),
        thing("Google", "Google Pixel 6a", 130, 180),
        thing("Fairphone", "Fairphone 4", 220, 300),
        thing("OnePlus", "OnePlus 10 Pro", 270, 350),
        thing("Sony", "Sony Xperia 5 III", 220, 310),
        thing("Motorola", "Motorola Edge 30", 120, 170),
        thing("Nothing", "Nothing Phone (1)", 170, 230),
    ],
    traits: &[
        "128 GB, black",
        "256 GB, blue",
        "128 GB, unlocked",
        "256 GB, new battery",
        "128 GB with case and charger",
        "256 GB, white",
    ],
    stories: &[
        "My work phone until the contract ended; it never left its case.",
        "An upgrade made this one spare.",
        "Bought refurbished a year ago and used as a second phone.",
        "It was my daughter's, who looked after it better than I do after mine.",
    ],
    remarks: &[
        "Battery health is above 88 per cent, screenshot on request.",
        "Free of any account or contract lock, and reset to factory settings.",
        "Face or fingerprint recognition, cameras and both speakers all work.",
        "The screen has had a protector from the first day.",
        "Comes with a cable; the charger is yours if you want it.",
    ],
    breaks: true,
};
