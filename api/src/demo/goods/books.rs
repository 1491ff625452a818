//! Books.

use super::{Category, thing};

pub(super) const BOOKS: Category = Category {
    slug: "books",
    things: &[
        thing("Penguin", "The Left Hand of Darkness by Ursula K. Le Guin", 8, 24),
        thing("Faber & Faber", "The Remains of the Day by Kazuo Ishiguro", 9, 28),
        thing("Vintage", "Invisible Cities by Italo Calvino", 7, 18),
        thing("Folio Society", "Middlemarch by George Eliot", 25, 55),
        thing("Gollancz", "Dune by Frank Herbert", 12, 40),
        thing("Allen & Unwin", "The Lord of the Rings by J. R. R. Tolkien, three volumes", 45, 120),
        thing("Phaidon", "The Story of Art by E. H. Gombrich", 14, 32),
        thing("Addison-Wesley", "The Art of Computer Programming, volume 1, by Donald Knuth", 30, 60),
        thing("Oxford University Press", "A Pattern Language by Christopher Alexander", 38, 62),
        thing("Taschen", "Bauhaus by Magdalena Droste", 18, 35),
        thing("Reader's Digest", "Complete Manual of Woodworking", 10, 22),
        thing("Thames & Hudson", "The Photographer's Eye by John Szarkowski", 20, 42),
        thing("Chatto & Windus", "The Sea, the Sea by Iris Murdoch", 9, 30),
    ],
    traits: &[
        "hardback with dust jacket",
        "paperback, read once",
        "illustrated edition",
        "early printing",
        "with bookplate",
        "in slipcase",
    ],
    stories: &[
        "From a house move: two metres of shelf have to go.",
        "Read once on a long train journey and kept upright since.",
        "A duplicate, since two readers married.",
        "Bought at a library sale, without stamps.",
    ],
    remarks: &[
        "Binding tight, no loose pages.",
        "No underlining and no notes but a date on the flyleaf.",
        "Pages slightly toned at the edges, as paper of that age is.",
        "Posted flat, in a proper book wrap.",
        "From a home without pets or smoke.",
    ],
    breaks: false,
};
