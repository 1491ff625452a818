//! Records.

use super::{Category, thing};

pub(super) const RECORDS: Category = Category {
    slug: "records",
    things: &[
        thing("Blue Note", "John Coltrane: Blue Train", 22, 70),
        thing("Columbia", "Miles Davis: Kind of Blue", 18, 60),
        thing("Harvest", "Pink Floyd: The Dark Side of the Moon", 25, 80),
        thing("Factory", "Joy Division: Unknown Pleasures", 28, 75),
        thing("Atlantic", "Aretha Franklin: Lady Soul", 16, 45),
        thing("ECM", "Keith Jarrett: The Köln Concert, 2 LP", 18, 38),
        thing("Philips", "Kraftwerk: Autobahn", 24, 65),
        thing("Warp", "Boards of Canada: Music Has the Right to Children, 2 LP", 26, 48),
        thing("Deutsche Grammophon", "Bach: Goldberg Variations, Wilhelm Kempff", 12, 30),
        thing("Motown", "Stevie Wonder: Innervisions", 15, 40),
        thing("Island", "Nick Drake: Bryter Layter", 20, 90),
        thing("Virgin", "Massive Attack: Mezzanine, 2 LP", 28, 55),
        thing("Reprise", "Neil Young: Harvest", 14, 36),
    ],
    traits: &[
        "UK pressing",
        "US pressing",
        "German pressing",
        "with printed inner sleeve",
        "180 g reissue",
        "Japanese pressing with obi",
    ],
    stories: &[
        "From a collection that I have been thinning since the shelves began to bend.",
        "Bought new, played a dozen times on a well-set deck.",
        "Found in my aunt's loft, in a box that had not been opened since 1983.",
        "A double: I upgraded and keep only one.",
    ],
    remarks: &[
        "Cleaned on a vacuum machine and put into a new antistatic sleeve.",
        "Plays through without a skip; light crackle between the tracks.",
        "Spine readable, corners a little soft.",
        "Graded under a bright lamp, by ear as well as by eye.",
        "Posted in a stiff mailer with the record outside its cover.",
    ],
    breaks: false,
};
