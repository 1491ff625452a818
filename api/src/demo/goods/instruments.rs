//! Musical instruments.

use super::{Category, thing};

pub(super) const INSTRUMENTS: Category = Category {
    slug: "instruments",
    things: &[
        thing("Fender", "Fender Player Telecaster, butterscotch", 430, 580),
        thing("Gibson", "Gibson Les Paul Studio, wine red", 780, 1_050),
        thing("Yamaha", "Yamaha FG800 acoustic guitar", 130, 190),
        thing("Roland", "Roland Juno-106 synthesizer", 1_150, 1_700),
        thing("Korg", "Korg Minilogue", 280, 380),
        thing("Yamaha", "Yamaha YAS-280 alto saxophone", 520, 720),
        thing("Selmer", "Selmer clarinet in B flat", 340, 560),
        thing("Stentor", "Stentor Conservatoire violin 4/4", 140, 220),
        thing("Nord", "Nord Stage 2 EX, 88 keys", 1_250, 1_650),
        thing("Boss", "Boss DS-1 distortion pedal, 1980s", 60, 120),
        thing("Ludwig", "Ludwig Supraphonic snare drum", 320, 480),
        thing("Vox", "Vox AC15 guitar amplifier", 330, 460),
        thing("Hohner", "Hohner Student accordion, 48 bass", 120, 210),
    ],
    traits: &[
        "with case",
        "set up and cleaned",
        "one owner",
        "from a teaching studio",
        "gigged but cared for",
        "home use only",
    ],
    stories: &[
        "The band ended as bands do, and this deserves to be played.",
        "Bought for lessons that gave way to football.",
        "It has been my second instrument for years and now I need the room.",
        "From a teacher's studio, where it was played every day and looked after.",
    ],
    remarks: &[
        "Every key, pad and contact works; it was played an hour before the pictures.",
        "Frets and action are fine for many years.",
        "You are welcome to come and try it.",
        "No cracks, no repairs that I know of.",
        "A few dings, all of them in the pictures.",
    ],
    breaks: true,
};
