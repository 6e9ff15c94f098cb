//! The tables: carries out a save as one transaction, and reads everything back or says what is wrong with it.
//!
//! Generic over the storage below, so that a test can lose what was not synced. Must not know names, locks or time.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_checks::entries::{Hash, Key};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition, WriteTransaction};

use super::stored::{
    FORMAT_VERSION, Tally, key_bytes, key_from, position_bytes, position_from, row_bytes, row_from, seal, sealed_with, transition_bytes,
    transition_from, unseal,
};
use super::{FileError, Image, Save};
use crate::spool::{Position, Row};

/// What the library may keep in memory, in bytes.
const CACHE_BYTES: usize = 1024 * 1024;

/// The format's version and the position. This table keeps its shape in every version.
const ABOUT: &str = "about";
const ROWS: &str = "rows";
const TRANSITIONS: &str = "transitions";
const FORMAT: &str = "format";
const POSITION: &str = "position";

const ABOUT_TABLE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new(ABOUT);
const ROWS_TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new(ROWS);
const TRANSITIONS_TABLE: TableDefinition<'static, u64, &[u8]> = TableDefinition::new(TRANSITIONS);

/// Why the content could not be read or written.
#[derive(Debug)]
pub(super) enum TablesError {
    /// The library's words.
    Storage(redb::Error),
    /// What is there is not what a save left.
    Malformed(String),
    /// The library gave up in the middle.
    Panicked,
}

impl<E: Into<redb::Error>> From<E> for TablesError {
    fn from(error: E) -> Self {
        Self::Storage(error.into())
    }
}

impl TablesError {
    /// Is it something in the way of a file that may be good; else what is wrong with the file itself.
    pub(super) fn stands_in_the_way(self, path: &Path, operation: &'static str) -> Result<FileError, String> {
        let path = path.to_owned();
        match self {
            Self::Storage(redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch) => Ok(FileError::InUse { path }),
            // The library's own complaints about what it read have no number of the system.
            Self::Storage(redb::Error::Io(source))
                if source.raw_os_error().is_some() || source.kind() == std::io::ErrorKind::FileTooLarge =>
            {
                Ok(FileError::Io { operation, path, source })
            }
            Self::Storage(redb::Error::UpgradeRequired(version)) => Err(format!("it is of an earlier library (its format {version})")),
            Self::Storage(redb::Error::Corrupted(said)) => Err(format!("it is damaged: {said}")),
            Self::Storage(redb::Error::Io(error)) => Err(format!("it does not read as a spool: {error}")),
            Self::Storage(error) => Err(format!("it does not read as a spool: {error}")),
            Self::Malformed(because) => Err(because),
            Self::Panicked => Err("its pages contradict each other".to_owned()),
        }
    }

    /// The same for a file that was good a moment ago.
    pub(super) fn at(self, path: &Path, operation: &'static str) -> FileError {
        let damaged = |because| FileError::Damaged { operation, path: path.to_owned(), because };
        self.stands_in_the_way(path, operation).unwrap_or_else(damaged)
    }
}

fn malformed(what: &str) -> TablesError {
    TablesError::Malformed(what.to_owned())
}

/// A spool's tables, and what is in them by count.
#[derive(Debug)]
pub(super) struct Tables {
    database: Database,
    rows: Tally,
    transitions: Tally,
}

impl Tables {
    /// New tables in an empty storage, with `content` or none.
    pub(super) fn create(storage: impl StorageBackend, content: Option<&Save>) -> Result<Self, TablesError> {
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(storage)?;
        let mut tables = Self { database, rows: Tally::default(), transitions: Tally::default() };
        let transaction = tables.begin()?;
        {
            let mut about = transaction.open_table(ABOUT_TABLE)?;
            let version = FORMAT_VERSION.to_le_bytes();
            about.insert(FORMAT, seal(ABOUT, FORMAT.as_bytes(), &version).as_slice())?;
            transaction.open_table(ROWS_TABLE)?;
            transaction.open_table(TRANSITIONS_TABLE)?;
        }
        let tallies = content.map(|save| tables.carry_out(&transaction, save)).transpose()?;
        transaction.commit()?;
        (tables.rows, tables.transitions) = tallies.unwrap_or_default();
        Ok(tables)
    }

    /// The tables in a storage that has some, and what they hold; `None` before the first save.
    pub(super) fn open(storage: impl StorageBackend) -> Result<(Self, Option<Image>), TablesError> {
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create_with_backend(storage)?;
        let mut tables = Self { database, rows: Tally::default(), transitions: Tally::default() };
        let image = tables.read()?;
        if let Some((_, rows, transitions)) = image {
            (tables.rows, tables.transitions) = (rows, transitions);
        }
        Ok((tables, image.map(|(image, ..)| image)))
    }

    /// Makes `save` durable.
    pub(super) fn write(&mut self, save: &Save) -> Result<(), TablesError> {
        let transaction = self.begin()?;
        let tallies = self.carry_out(&transaction, save)?;
        transaction.commit()?;
        (self.rows, self.transitions) = tallies;
        Ok(())
    }

    fn begin(&self) -> Result<WriteTransaction, TablesError> {
        let mut transaction = self.database.begin_write()?;
        // One phase would trust a checksum that whoever chooses what a finding says could aim at.
        transaction.set_two_phase_commit(true);
        transaction.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
        Ok(transaction)
    }

    /// Does with the tables what [`Image::apply`] does with an image; what they hold then, by count.
    fn carry_out(&self, transaction: &WriteTransaction, save: &Save) -> Result<(Tally, Tally), TablesError> {
        let (mut row_tally, mut transition_tally) = (self.rows, self.transitions);
        if save.replace {
            transaction.delete_table(ROWS_TABLE)?;
            transaction.delete_table(TRANSITIONS_TABLE)?;
            (row_tally, transition_tally) = Default::default();
        }
        let mut rows = transaction.open_table(ROWS_TABLE)?;
        for (key, row) in &save.rows {
            write_row(&mut rows, &mut row_tally, key, row.as_ref())?;
        }
        let mut transitions = transaction.open_table(TRANSITIONS_TABLE)?;
        for transition in &save.transitions {
            let number = transition.number;
            let value = seal(TRANSITIONS, &number.to_le_bytes(), &transition_bytes(transition));
            let seal = sealed_with(&value).ok_or_else(|| malformed("a transition has no seal"))?;
            if let Some(old) = transitions.insert(number, value.as_slice())? {
                let (old_key, old_seal) = sealed_transition(number, old.value())?;
                transition_tally.remove(&old_key, &old_seal);
            }
            transition_tally.add(&transition.key, &seal);
        }
        for gone in transitions.extract_from_if(..save.transitions_from, |_, _| true)? {
            let (number, old) = gone?;
            let (old_key, old_seal) = sealed_transition(number.value(), old.value())?;
            transition_tally.remove(&old_key, &old_seal);
        }
        let mut about = transaction.open_table(ABOUT_TABLE)?;
        let position = position_bytes(&save.position, row_tally, transition_tally);
        about.insert(POSITION, seal(ABOUT, POSITION.as_bytes(), &position).as_slice())?;
        Ok((row_tally, transition_tally))
    }

    fn read(&self) -> Result<Option<(Image, Tally, Tally)>, TablesError> {
        let transaction = self.database.begin_read()?;
        let about = transaction.open_table(ABOUT_TABLE)?;
        let format = about.get(FORMAT)?.ok_or_else(|| malformed("it does not say of which version it is"))?;
        let (_, version) = unseal(ABOUT, FORMAT.as_bytes(), format.value()).ok_or_else(|| malformed("its version's checksum is wrong"))?;
        let version = version.try_into().map(u32::from_le_bytes).map_err(|_| malformed("its version is not a number"))?;
        if version != FORMAT_VERSION {
            let which = if version > FORMAT_VERSION { "a later" } else { "an earlier" };
            let because = format!("it is of {which} version of the agent (format {version}; this one keeps format {FORMAT_VERSION})");
            return Err(TablesError::Malformed(because));
        }
        let (mut rows, mut row_tally) = (BTreeMap::new(), Tally::default());
        for item in transaction.open_table(ROWS_TABLE)?.iter()? {
            let (key_read, value) = item?;
            let (key, row, seal) = row_of(key_read.value(), value.value()).ok_or_else(|| malformed("a row's checksum is wrong"))?;
            row_tally.add(&key, &seal);
            rows.insert(key, row);
        }
        let (mut transitions, mut transition_tally) = (BTreeMap::new(), Tally::default());
        for item in transaction.open_table(TRANSITIONS_TABLE)?.iter()? {
            let (number, value) = item?;
            let number = number.value();
            let unsealed = unseal(TRANSITIONS, &number.to_le_bytes(), value.value());
            let read = unsealed.and_then(|(seal, content)| Some((seal, transition_from(number, content)?)));
            let (seal, transition) = read.ok_or_else(|| malformed("a transition's checksum is wrong"))?;
            transition_tally.add(&transition.key, &seal);
            transitions.insert(number, transition);
        }
        let Some(position) = about.get(POSITION)? else {
            let new = rows.is_empty() && transitions.is_empty();
            return if new { Ok(None) } else { Err(malformed("its position is missing")) };
        };
        let unsealed = unseal(ABOUT, POSITION.as_bytes(), position.value());
        let read: Option<(Position, Tally, Tally)> = unsealed.and_then(|(_, content)| position_from(content));
        let (position, row_told, transition_told) = read.ok_or_else(|| malformed("its position's checksum is wrong"))?;
        if (row_told, transition_told) != (row_tally, transition_tally) {
            return Err(malformed("rows are missing, or of another time"));
        }
        Ok(Some((Image { position, rows, transitions }, row_tally, transition_tally)))
    }
}

fn write_row(rows: &mut Table<'_, &[u8], &[u8]>, tally: &mut Tally, key: &Key, row: Option<&Row>) -> Result<(), TablesError> {
    let name = key_bytes(key);
    let old = match row {
        Some(row) => {
            let value = seal(ROWS, &name, &row_bytes(key, row));
            tally.add(key, &sealed_with(&value).ok_or_else(|| malformed("a row has no seal"))?);
            rows.insert(name.as_slice(), value.as_slice())?
        }
        None => rows.remove(name.as_slice())?,
    };
    if let Some(old) = old {
        tally.remove(key, &sealed_with(old.value()).ok_or_else(|| malformed("a row has no seal"))?);
    }
    Ok(())
}

fn row_of(name: &[u8], value: &[u8]) -> Option<(Key, Row, Hash)> {
    let key = key_from(name)?;
    let (seal, content) = unseal(ROWS, name, value)?;
    let row = row_from(&key, content)?;
    Some((key, row, seal))
}

fn sealed_transition(number: u64, value: &[u8]) -> Result<(Key, Hash), TablesError> {
    let unsealed = unseal(TRANSITIONS, &number.to_le_bytes(), value);
    let read = unsealed.and_then(|(seal, content)| Some((transition_from(number, content)?.key, seal)));
    read.ok_or_else(|| malformed("a transition's checksum is wrong"))
}
