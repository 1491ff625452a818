//! Cameras and lenses.

use super::{Category, thing};

pub(super) const CAMERAS: Category = Category {
    slug: "cameras",
    things: &[
        thing("Canon", "Canon AE-1 Program with 50 mm f/1.8", 130, 210),
        thing("Nikon", "Nikon FM2n body, chrome", 260, 380),
        thing("Olympus", "Olympus OM-1 with Zuiko 50 mm f/1.8", 120, 190),
        thing("Leica", "Leica M6 0.72 body, black", 2_200, 2_900),
        thing("Fujifilm", "Fujifilm X100V", 980, 1_250),
        thing("Sony", "Sony Alpha 7 III body", 850, 1_080),
        thing("Pentax", "Pentax K1000 with SMC 50 mm f/2", 95, 150),
        thing("Hasselblad", "Hasselblad 500 C/M with Planar 80 mm", 1_500, 2_100),
        thing("Rollei", "Rolleiflex 2.8F twin lens reflex", 1_050, 1_500),
        thing("Canon", "Canon EF 70-200 mm f/4 L USM", 320, 430),
        thing("Nikon", "Nikon Nikkor 105 mm f/2.5 AI-S", 150, 230),
        thing("Polaroid", "Polaroid SX-70 Land Camera", 140, 240),
        thing("Ricoh", "Ricoh GR III", 640, 790),
    ],
    traits: &[
        "boxed with strap and manual",
        "with leather case",
        "one owner",
        "from a studio clearance",
        "checked by a repairer",
        "with original caps",
    ],
    stories: &[
        "It has travelled with me for three summers and now gives way to something lighter.",
        "From a studio that closed last spring.",
        "Bought for a course that I finished; since then it has lived in a dry cabinet.",
        "My grandfather's, used on holidays and otherwise kept in its case.",
    ],
    remarks: &[
        "Shutter speeds sound right through the whole range and the meter agrees with my phone.",
        "Glass is clear: no fungus, no haze, a speck of dust that no picture shows.",
        "Light seals were replaced two years ago.",
        "The last film came back fine; sample pictures on request.",
        "All dials turn firmly and the viewfinder is bright.",
    ],
    breaks: true,
};
