//! Secrets on their way to one provider: HPKE (RFC 9180) base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! ChaCha20Poly1305.
//!
//! Sealing protects in transit, at rest on the hub, and from other providers. It does not protect from the owner of
//! the machine that opens it. The caller passes the randomness in; keys travel as base64 of 32 bytes.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

/// What the random source must be: `rand::rng()` of rand 0.10 is one.
pub use hpke::rand_core::CryptoRng;

/// HPKE `info` of sealed URLs; another use of the keys takes another text.
const INFO: &[u8] = b"spillway/urls/v1";
const KEY_BYTES: usize = 32;

type Public = <X25519HkdfSha256 as Kem>::PublicKey;
type Secret = <X25519HkdfSha256 as Kem>::PrivateKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    #[error("{0} is not the base64 of 32 bytes")]
    Key(&'static str),
    #[error("the ciphertext is not base64")]
    Base64,
    #[error("cannot seal to this public key")]
    Seal,
    #[error("cannot open: sealed to another key, for another attempt, or altered")]
    Open,
}

/// The attempt that a payload belongs to: authenticated with it, so that it opens for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    pub job_uid: &'a str,
    pub shard: u32,
    pub attempt: u16,
    /// Name of the GpuProvider.
    pub provider: &'a str,
    /// Unix seconds.
    pub not_after: i64,
}

impl Context<'_> {
    fn associated_data(&self) -> Vec<u8> {
        let Self {
            job_uid,
            shard,
            attempt,
            provider,
            not_after,
        } = self;
        format!("{job_uid}/{shard}/{attempt}/{provider}/{not_after}").into_bytes()
    }
}

/// X25519 public key; text form is base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

impl FromStr for PublicKey {
    type Err = SealingError;

    fn from_str(text: &str) -> Result<Self, SealingError> {
        decode_key(text, "the public key").map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

/// X25519 secret key: wiped when dropped (by the type inside), never printed.
#[derive(Clone)]
pub struct SecretKey(Secret);

impl SecretKey {
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        Self(X25519HkdfSha256::gen_keypair_with_rng(random).0)
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey(X25519HkdfSha256::sk_to_pk(&self.0).to_bytes().into())
    }

    /// base64, for the Secret that keeps it.
    pub fn to_base64(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(<[u8; KEY_BYTES]>::from(self.0.to_bytes()));
        Zeroizing::new(BASE64_STANDARD.encode(bytes.as_slice()))
    }
}

impl FromStr for SecretKey {
    type Err = SealingError;

    fn from_str(text: &str) -> Result<Self, SealingError> {
        const WHAT: &str = "the secret key";
        let bytes = decode_key(text, WHAT)?;
        Secret::from_bytes(bytes.as_slice())
            .map(Self)
            .map_err(|_| SealingError::Key(WHAT))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey { .. }")
    }
}

/// A sealed payload; both parts are base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub encapsulated_key: String,
    pub ciphertext: String,
}

/// Seals `clear` to `recipient` for one attempt.
///
/// # Errors
/// [`SealingError::Seal`] when the public key is a point of low order.
pub fn seal(
    recipient: &PublicKey,
    context: &Context<'_>,
    clear: &[u8],
    random: &mut impl CryptoRng,
) -> Result<Sealed, SealingError> {
    let (encapsulated, ciphertext) = seal_with(recipient, INFO, &context.associated_data(), clear, random)?;
    Ok(Sealed {
        encapsulated_key: BASE64_STANDARD.encode(encapsulated),
        ciphertext: BASE64_STANDARD.encode(ciphertext),
    })
}

/// Opens what [`seal`] made for the same attempt; the clear bytes are wiped when dropped.
///
/// # Errors
/// Names the malformed part, or says that key, attempt or bytes do not belong together.
pub fn open(secret: &SecretKey, context: &Context<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    let encapsulated = decode_key(&sealed.encapsulated_key, "the encapsulated key")?;
    let ciphertext = BASE64_STANDARD
        .decode(&sealed.ciphertext)
        .map_err(|_| SealingError::Base64)?;
    open_with(
        secret,
        INFO,
        &context.associated_data(),
        encapsulated.as_slice(),
        &ciphertext,
    )
}

fn seal_with(
    recipient: &PublicKey,
    info: &[u8],
    associated_data: &[u8],
    clear: &[u8],
    random: &mut impl CryptoRng,
) -> Result<([u8; KEY_BYTES], Vec<u8>), SealingError> {
    let public = Public::from_bytes(&recipient.0).map_err(|_| SealingError::Key("the public key"))?;
    hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &public,
        info,
        clear,
        associated_data,
        random,
    )
    .map(|(encapsulated, ciphertext)| (encapsulated.to_bytes().into(), ciphertext))
    .map_err(|_| SealingError::Seal)
}

fn open_with(
    secret: &SecretKey,
    info: &[u8],
    associated_data: &[u8],
    encapsulated: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    let encapsulated = Encapsulated::from_bytes(encapsulated).map_err(|_| SealingError::Key("the encapsulated key"))?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret.0,
        &encapsulated,
        info,
        ciphertext,
        associated_data,
    )
    .map(Zeroizing::new)
    .map_err(|_| SealingError::Open)
}

fn decode_key(text: &str, what: &'static str) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealingError> {
    let bytes = Zeroizing::new(
        BASE64_STANDARD
            .decode(text.trim())
            .map_err(|_| SealingError::Key(what))?,
    );
    bytes
        .as_slice()
        .try_into()
        .map(Zeroizing::new)
        .map_err(|_| SealingError::Key(what))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hpke::rand_core::{TryCryptoRng, TryRng};
    use proptest::prelude::*;

    use super::*;

    /// Gives out given bytes once: the `ikmE` of a test vector.
    struct Given(Vec<u8>);

    impl TryRng for Given {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            panic!("the key encapsulation asks for bytes only")
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            panic!("the key encapsulation asks for bytes only")
        }

        fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
            target.copy_from_slice(&self.0.drain(..target.len()).collect::<Vec<_>>());
            Ok(())
        }
    }

    impl TryCryptoRng for Given {}

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    const CONTEXT: Context<'_> = Context {
        job_uid: "5f0e",
        shard: 3,
        attempt: 1,
        provider: "acme",
        not_after: 1_800_000_000,
    };

    /// RFC 9180, appendix A.2.1, sequence number 0.
    #[test]
    fn agrees_with_the_vector_of_rfc_9180() {
        let mut recipient_ikm = Given(bytes(
            "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
        ));
        let secret = SecretKey::generate(&mut recipient_ikm);
        let public = secret.public_key();
        assert_eq!(
            hex::encode(public.0),
            "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
        );

        let info = bytes("4f6465206f6e2061204772656369616e2055726e");
        let clear = bytes("4265617574792069732074727574682c20747275746820626561757479");
        let associated = bytes("436f756e742d30");
        let mut ephemeral_ikm = Given(bytes(
            "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
        ));
        let (encapsulated, ciphertext) = seal_with(&public, &info, &associated, &clear, &mut ephemeral_ikm).unwrap();

        assert_eq!(
            hex::encode(encapsulated),
            "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
        );
        assert_eq!(
            hex::encode(&ciphertext),
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
        );
        assert_eq!(
            *open_with(&secret, &info, &associated, &encapsulated, &ciphertext).unwrap(),
            clear
        );
    }

    #[test]
    fn opens_for_its_own_attempt_only() {
        let mut random = rand::rng();
        let secret = SecretKey::generate(&mut random);
        let sealed = seal(&secret.public_key(), &CONTEXT, b"https://store/?sig=1", &mut random).unwrap();
        assert_eq!(*open(&secret, &CONTEXT, &sealed).unwrap(), b"https://store/?sig=1");

        let others = [
            Context {
                job_uid: "5f0f",
                ..CONTEXT
            },
            Context { shard: 4, ..CONTEXT },
            Context { attempt: 2, ..CONTEXT },
            Context {
                provider: "other",
                ..CONTEXT
            },
            Context {
                not_after: CONTEXT.not_after + 1,
                ..CONTEXT
            },
        ];
        for other in others {
            assert_eq!(open(&secret, &other, &sealed), Err(SealingError::Open), "{other:?}");
        }
        let stranger = SecretKey::generate(&mut random);
        assert_eq!(open(&stranger, &CONTEXT, &sealed), Err(SealingError::Open));
    }

    #[test]
    fn refuses_malformed_parts_by_name() {
        let secret = SecretKey::generate(&mut rand::rng());
        let sealed = Sealed {
            encapsulated_key: "AAAA".to_owned(),
            ciphertext: String::new(),
        };
        assert_eq!(
            open(&secret, &CONTEXT, &sealed),
            Err(SealingError::Key("the encapsulated key"))
        );
        let sealed = Sealed {
            encapsulated_key: secret.public_key().to_string(),
            ciphertext: "%".to_owned(),
        };
        assert_eq!(open(&secret, &CONTEXT, &sealed), Err(SealingError::Base64));
        assert_eq!("no key".parse::<PublicKey>(), Err(SealingError::Key("the public key")));
        assert_eq!(
            seal(&PublicKey([0; KEY_BYTES]), &CONTEXT, b"x", &mut rand::rng()),
            Err(SealingError::Seal)
        );
    }

    #[test]
    fn keys_survive_their_text_form_and_are_not_printed() {
        let secret = SecretKey::generate(&mut rand::rng());
        let again: SecretKey = secret.to_base64().parse().unwrap();
        assert_eq!(again.public_key(), secret.public_key());
        assert_eq!(secret.public_key().to_string().parse(), Ok(secret.public_key()));
        assert!(!format!("{secret:?}").contains(&*secret.to_base64()));
    }

    proptest! {
        // Each case costs four scalar multiplications, slow without optimisation.
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn an_altered_ciphertext_never_opens(clear in proptest::collection::vec(any::<u8>(), 0..64), at: usize, flip in 1u8..) {
            let mut random = rand::rng();
            let secret = SecretKey::generate(&mut random);
            let sealed = seal(&secret.public_key(), &CONTEXT, &clear, &mut random).unwrap();
            let mut ciphertext = BASE64_STANDARD.decode(&sealed.ciphertext).unwrap();
            let index = at % ciphertext.len();
            ciphertext[index] ^= flip;
            let altered = Sealed { ciphertext: BASE64_STANDARD.encode(&ciphertext), ..sealed };
            prop_assert_eq!(open(&secret, &CONTEXT, &altered), Err(SealingError::Open));
        }
    }
}
