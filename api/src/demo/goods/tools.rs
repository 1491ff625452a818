//! Tools.

use super::{Category, thing};

pub(super) const TOOLS: Category = Category {
    slug: "tools",
    things: &[
        thing("Stanley", "Stanley No. 4 smoothing plane", 32, 70),
        thing("Record", "Record No. 52 woodworking vice", 60, 110),
        thing("Makita", "Makita DHP482 cordless drill, two batteries", 85, 130),
        thing("Bosch", "Bosch GBH 2-26 rotary hammer", 90, 140),
        thing("Festool", "Festool TS 55 plunge saw with rail", 340, 460),
        thing("DeWalt", "DeWalt DW745 table saw", 260, 370),
        thing("Lie-Nielsen", "Lie-Nielsen low-angle block plane", 110, 155),
        thing("Knipex", "Knipex Cobra pliers, set of three", 45, 70),
        thing("Wera", "Wera Zyklop socket set, 28 pieces", 60, 95),
        thing("Hilti", "Hilti TE 2 rotary hammer", 150, 230),
        thing("Myford", "Myford ML7 lathe", 780, 1_250),
        thing("Facom", "Facom roller cabinet, six drawers", 320, 490),
        thing("Marples", "Marples bevel-edge chisels, set of six", 45, 85),
    ],
    traits: &[
        "with carry case",
        "from a closed workshop",
        "weekend use only",
        "with manual",
        "recently serviced",
        "one owner",
    ],
    stories: &[
        "My father's workshop is being cleared, carefully.",
        "Bought for one kitchen, which is finished.",
        "I have gone over to battery tools and this one deserves to be used.",
        "From a joiner who retired last year.",
    ],
    remarks: &[
        "Runs quietly and without play.",
        "Sharpened and honed, ready to use.",
        "Some surface rust where the hand rests, none where it matters.",
        "The cable was renewed by an electrician.",
        "Nothing is missing and nothing has been bodged.",
    ],
    breaks: true,
};
