//! The bytes of an answer, written in thousands of pieces of a few dozen bytes each.

use std::io::{Result, Write};

/// Longer pieces are copied by `memcpy`.
const SHORT_BYTES: usize = 64;

/// Short pieces are copied in steps of fixed length: musl's `memcpy` takes longer to start than they take to copy (a third of
/// an answer's time at 5,000 names).
#[derive(Debug)]
pub struct Reply(pub Vec<u8>);

impl Reply {
    fn push(&mut self, mut rest: &[u8]) {
        while let Some((piece, behind)) = rest.split_first_chunk::<16>() {
            self.0.extend_from_slice(piece);
            rest = behind;
        }
        if let Some((piece, behind)) = rest.split_first_chunk::<8>() {
            self.0.extend_from_slice(piece);
            rest = behind;
        }
        if let Some((piece, behind)) = rest.split_first_chunk::<4>() {
            self.0.extend_from_slice(piece);
            rest = behind;
        }
        for byte in rest {
            self.0.push(*byte);
        }
    }
}

impl Write for Reply {
    fn write(&mut self, piece: &[u8]) -> Result<usize> {
        self.write_all(piece)?;
        Ok(piece.len())
    }

    fn write_all(&mut self, piece: &[u8]) -> Result<()> {
        if piece.len() <= SHORT_BYTES {
            self.push(piece);
        } else {
            self.0.extend_from_slice(piece);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_any_length_arrives_whole() {
        let bytes: Vec<u8> = (0..200_u8).collect();
        let mut reply = Reply(Vec::new());
        let mut expected = Vec::new();
        for length in 0..=bytes.len() {
            reply.write_all(&bytes[..length]).unwrap();
            expected.extend_from_slice(&bytes[..length]);
        }
        assert_eq!(reply.0, expected);
        assert_eq!(reply.write(&bytes[..7]).unwrap(), 7);
    }
}
