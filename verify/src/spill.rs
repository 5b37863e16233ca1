//! Joins larger than memory: what belongs together is written to the same file by the hash of its key, and one file is in memory at a time.

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::marker::PhantomData;
use std::path::PathBuf;

/// Memory for what is not written yet, of one spill.
const BUFFERED_BYTES: usize = 16 << 20;
/// Pieces that one file is meant to have.
const PIECES: u64 = 20_000;

/// Pieces by key, on disk.
pub(crate) struct Spill<T> {
    folder: PathBuf,
    buffers: Vec<Vec<u8>>,
    most: usize,
    /// The piece that is written, before it has its length
    piece: Vec<u8>,
    kind: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Spill<T> {
    /// In this folder, for about so many pieces.
    pub(crate) fn new(folder: PathBuf, pieces: u64) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let files = usize::try_from((pieces / PIECES).clamp(16, 4096)).unwrap_or(4096);
        Ok(Self {
            folder,
            buffers: vec![Vec::new(); files],
            most: BUFFERED_BYTES / files,
            piece: Vec::new(),
            kind: PhantomData,
        })
    }

    /// Adds a piece.
    pub(crate) fn push(&mut self, key: &[u8], piece: &T) -> anyhow::Result<()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let files = self.buffers.len() as u64;
        let file = usize::try_from(hasher.finish() % files).unwrap_or(0);
        self.piece.clear();
        self.piece = postcard::to_extend(
            &(serde_bytes::Bytes::new(key), piece),
            std::mem::take(&mut self.piece),
        )?;
        let buffer = &mut self.buffers[file];
        buffer.extend_from_slice(&u32::try_from(self.piece.len())?.to_le_bytes());
        buffer.extend_from_slice(&self.piece);
        if buffer.len() >= self.most {
            self.flush(file)?;
        }
        Ok(())
    }

    fn path(&self, file: usize) -> PathBuf {
        self.folder.join(file.to_string())
    }

    fn flush(&mut self, file: usize) -> anyhow::Result<()> {
        let path = self.path(file);
        let cannot = || {
            format!(
                "cannot write {}: is the disk full? --temp-dir names another",
                path.display()
            )
        };
        let mut opened = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(cannot)?;
        opened.write_all(&self.buffers[file]).with_context(cannot)?;
        self.buffers[file].clear();
        Ok(())
    }

    /// Calls this with all pieces of each key, in the order in which they were added; then nothing is left.
    pub(crate) fn groups(
        mut self,
        mut judge: impl FnMut(&[u8], Vec<T>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for file in 0..self.buffers.len() {
            self.flush(file)?;
            self.buffers[file] = Vec::new();
            let path = self.path(file);
            let bytes =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            std::fs::remove_file(&path)?;
            let mut groups: BTreeMap<Vec<u8>, Vec<T>> = BTreeMap::new();
            let mut rest = bytes.as_slice();
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let length = usize::try_from(u32::from_le_bytes(*length))?;
                let (piece, after) = after
                    .split_at_checked(length)
                    .context("a spilled file is cut off")?;
                rest = after;
                let (name, piece): (&serde_bytes::Bytes, T) = postcard::from_bytes(piece)?;
                match groups.get_mut(&**name) {
                    Some(group) => group.push(piece),
                    None => {
                        groups.insert(name.to_vec(), vec![piece]);
                    }
                }
            }
            drop(bytes);
            for (name, group) in groups {
                judge(&name, group)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_key_comes_together_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill: Spill<u64> = Spill::new(folder.path().join("s"), 1).unwrap();
        for piece in 0..200_000_u64 {
            let key = piece % 1000;
            spill.push(&key.to_le_bytes(), &piece).unwrap();
        }
        let mut keys = 0;
        spill
            .groups(|name, group| {
                keys += 1;
                let key = u64::from_le_bytes(name.try_into().unwrap());
                assert_eq!(
                    group,
                    (0..200).map(|turn| turn * 1000 + key).collect::<Vec<_>>()
                );
                Ok(())
            })
            .unwrap();
        assert_eq!(keys, 1000);
    }
}
