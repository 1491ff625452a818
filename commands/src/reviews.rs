//! Use cases of reviews: what buyers say of what they have bought, what sellers answer, and who finds it helpful.

use std::collections::BTreeSet;

use domain::account::Capability;
use domain::image::{self, Image, RemovalCause};
use domain::order::{self, Stage};
use domain::rating::Rating;
use domain::review::{Bought, Command, Content, Error, Picture, Review};
use domain::ruling::Ruling;
use domain::stock::Sku;
use domain::vote::{self, Vote};
use domain::{AccountId, ImageId, ListingId, OrderId, ReviewId, Sealed, VoteId};

use crate::engine::{Halt, World};
use crate::{accounts, images, orders};

/// What somebody says of something.
#[derive(Clone, Debug)]
pub struct Opinion {
    /// How good it was.
    pub rating: Rating,
    /// In a few words.
    pub title: Option<Sealed<String>>,
    /// In many.
    pub text: Option<Sealed<String>>,
    /// Which of their pictures show it.
    pub images: Vec<ImageId>,
}

/// What is reviewed: this form of a listing in an order.
#[derive(Clone, Debug)]
pub struct Subject {
    /// In which order.
    pub order: OrderId,
    /// Which listing.
    pub listing: ListingId,
    /// In which form.
    pub sku: Sku,
}

/// Writes a review of something that its author has bought and has got.
pub fn write(world: &mut World<'_>, author: AccountId, subject: &Subject, opinion: &Opinion) -> Result<ReviewId, Halt> {
    accounts::get(world, author)?.unblocked()?;
    let placed = orders::bought_by(world, subject.order, author)?;
    let status = placed.stage;
    if !matches!(status, Stage::Delivered | Stage::Completed) {
        return Err(order::Error::WrongStage { status, needed: Stage::Delivered }.into());
    }
    let Subject { order, listing, sku } = subject.clone();
    if !placed.terms.lines.iter().any(|line| line.listing == listing && line.sku == sku) {
        return Err(Error::NotBought.into());
    }
    let bought = Bought { order, listing, sku, seller: placed.terms.seller };
    let review = bought.review();
    let content = content(world, author, opinion)?;
    world.execute::<Review>(review, Command::Write { bought, author, content })?;
    Ok(review)
}

/// Changes a review, as its author. Pictures that it shows no more are deleted.
pub fn revise(world: &mut World<'_>, review: ReviewId, by: AccountId, opinion: &Opinion) -> Result<(), Halt> {
    let before = images_of(world.get::<Review>(review)?.written_by(by)?);
    accounts::get(world, by)?.unblocked()?;
    let content = content(world, by, opinion)?;
    world.execute::<Review>(review, Command::Revise { by, content })?;
    let after = images_of(world.get::<Review>(review)?.written_by(by)?);
    drop_images(world, before.difference(&after).copied())
}

/// Takes a review back for good, as its author. Its pictures are deleted. Whoever is blocked may still do so.
pub fn delete(world: &mut World<'_>, review: ReviewId, by: AccountId) -> Result<(), Halt> {
    let images = images_of(world.get::<Review>(review)?.written_by(by)?);
    world.execute::<Review>(review, Command::Delete { by })?;
    drop_images(world, images.into_iter())
}

/// Answers a review, as the seller.
pub fn reply(world: &mut World<'_>, review: ReviewId, by: AccountId, text: &Sealed<String>) -> Result<(), Halt> {
    world.get::<Review>(review)?.sold_by(by)?;
    accounts::get(world, by)?.unblocked()?;
    world.execute::<Review>(review, Command::Reply { by, text: text.clone() })?;
    Ok(())
}

/// Finds a review helpful, or no more; the opposite of before unless told. Whether it is afterwards.
pub fn vote(world: &mut World<'_>, review: ReviewId, voter: AccountId, helpful: Option<bool>) -> Result<bool, Halt> {
    let author = world.get::<Review>(review)?.shown()?.author;
    accounts::get(world, voter)?.unblocked()?;
    if author == voter {
        return Err(Error::OwnReview.into());
    }
    let id = VoteId::of(voter, review);
    world.execute::<Vote>(id, vote::Command::Turn { voter, review, helpful })?;
    Ok(*world.get::<Vote>(id)? == Vote::Cast)
}

/// Shows a review to nobody, as staff. One that is deleted meanwhile needs nothing.
pub(crate) fn hide(world: &mut World<'_>, review: ReviewId, ruling: &Ruling) -> Result<(), Halt> {
    rule(world, review, ruling, |ruling| Command::Hide { ruling })
}

/// Shows a review again, as staff. One that is deleted meanwhile needs nothing.
pub(crate) fn restore(world: &mut World<'_>, review: ReviewId, ruling: &Ruling) -> Result<(), Halt> {
    rule(world, review, ruling, |ruling| Command::Restore { ruling })
}

fn rule(
    world: &mut World<'_>,
    review: ReviewId,
    ruling: &Ruling,
    command: impl FnOnce(Ruling) -> Command,
) -> Result<(), Halt> {
    accounts::require(world, ruling.by, Capability::Staff)?;
    if let Ok(written) = world.get::<Review>(review)?.written()
        && [written.author, written.bought.seller].contains(&ruling.by)
    {
        return Err(Error::OwnReview.into());
    }
    world.execute::<Review>(review, command(ruling.clone()))?;
    Ok(())
}

/// An opinion with the files of its pictures, each once. Those of somebody else are as good as absent.
fn content(world: &mut World<'_>, author: AccountId, opinion: &Opinion) -> Result<Content, Halt> {
    let Opinion { rating, title, text, images } = opinion.clone();
    let mut pictures: Vec<Picture> = Vec::new();
    for image in images {
        let (owner, stored) = world.get::<Image>(image)?.stored()?;
        if owner != author {
            return Err(image::Error::NotFound.into());
        }
        let picture = Picture { image, file: stored.file() };
        if !pictures.contains(&picture) {
            pictures.push(picture);
        }
    }
    Ok(Content { rating, title, text, images: pictures })
}

fn images_of(written: &domain::review::Written) -> BTreeSet<ImageId> {
    written.content.images.iter().map(|picture| picture.image).collect()
}

fn drop_images(world: &mut World<'_>, images: impl Iterator<Item = ImageId>) -> Result<(), Halt> {
    for image in images {
        images::remove(world, image, RemovalCause::Detached)?;
    }
    Ok(())
}
