//! Clothes.

use super::{Category, thing};

pub(super) const CLOTHES: Category = Category {
    slug: "clothes",
    things: &[
        thing("Barbour", "Barbour Bedale waxed jacket, olive", 95, 165),
        thing("Levi's", "Levi's 501 jeans, made in USA", 45, 85),
        thing("Patagonia", "Patagonia Retro-X fleece", 80, 130),
        thing("Burberry", "Burberry trench coat, beige", 220, 390),
        thing("Aran Crafts", "Aran wool sweater, natural", 40, 75),
        thing("Arc'teryx", "Arc'teryx Beta AR shell", 190, 290),
        thing("Belstaff", "Belstaff Trialmaster jacket", 160, 260),
        thing("Uniqlo", "Uniqlo ultra light down jacket", 22, 38),
        thing("Harris Tweed", "Harris Tweed sports jacket, herringbone", 60, 110),
        thing("Carhartt", "Carhartt Detroit jacket, brown duck", 65, 115),
        thing("Fjällräven", "Fjällräven Greenland jacket", 85, 140),
        thing("Saint James", "Saint James Breton shirt", 25, 45),
        thing("Lodenfrey", "Loden coat, dark green", 110, 190),
    ],
    traits: &["size S", "size M", "size L", "size XL", "women's 12", "men's 42"],
    stories: &[
        "Worn for one winter before I moved somewhere warmer.",
        "I bought the wrong size and was too slow to send it back.",
        "From a wardrobe that is being halved.",
        "A good coat that hangs unused since I cycle to work.",
    ],
    remarks: &[
        "All zips, buttons and poppers are there and work.",
        "Washed or cleaned before posting.",
        "Measured flat: the numbers are in the pictures.",
        "No holes, no pulls, no smell.",
        "One cuff was mended by a tailor and you have to know where to look.",
    ],
    breaks: false,
};
