//! The wire format of protobuf, as far as it is written here: ONNX models, and the event files of TensorBoard.
//!
//! ```text
//! message = (key value)*      key = varint(field·8 + kind)
//! kind 0: varint     kind 1: eight bytes     kind 2: varint(length) bytes     kind 5: four bytes
//! ```
//! Two messages one after another are one that has the fields of both, so a message may be written in pieces.

/// A message that grows field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// Without fields.
    pub fn new() -> Message {
        Message::default()
    }
    /// What is written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
    /// A number.
    #[must_use]
    pub fn int(mut self, field: u32, value: u64) -> Message {
        self.key(field, 0);
        self.varint(value);
        self
    }
    /// An f32.
    #[must_use]
    pub fn float(mut self, field: u32, value: f32) -> Message {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }
    /// An f64.
    #[must_use]
    pub fn double(mut self, field: u32, value: f64) -> Message {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }
    /// Bytes, or a text.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Message {
        self = self.opening(field, value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }
    /// A message within this one.
    #[must_use]
    pub fn message(self, field: u32, value: &Message) -> Message {
        self.bytes(field, &value.0)
    }
    /// A field whose `length` bytes follow elsewhere.
    #[must_use]
    pub fn opening(mut self, field: u32, length: u64) -> Message {
        self.key(field, 2);
        self.varint(length);
        self
    }
    /// The fields of another, behind these.
    #[must_use]
    pub fn followed_by(mut self, other: &Message) -> Message {
        self.0.extend(&other.0);
        self
    }
    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }
    /// Seven bits a byte, the low ones first.
    fn varint(&mut self, mut n: u64) {
        while n > 0x7f {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of <https://protobuf.dev/programming-guides/encoding/>: 150, "testing", and the first in the third
    /// field of another message.
    #[test]
    fn fields_are_those_of_the_manual() {
        let number = Message::new().int(1, 150);
        assert_eq!(number.as_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::new().bytes(2, "testing");
        assert_eq!(text.as_bytes(), [0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g']);
        assert_eq!(Message::new().message(3, &number).as_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let fixed = Message::new().float(2, 1.0).double(16, 1.0);
        assert_eq!(fixed.as_bytes(), [0x15, 0, 0, 0x80, 0x3f, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    }
}
