package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/store"
)

// KeySize is the length of a key in bytes: AES-256.
const KeySize = 32

const (
	layout   = 0xF1 // version of the sealed form; no text and no other encoding begins so
	idSize   = 4
	overhead = 1 + idSize + 12 + 16
)

// The failures of Open.
var (
	ErrDamaged = errors.New("the sealed secret is damaged or was sealed for another record")
	ErrNoKey   = errors.New("the secret was sealed with another key")
)

// Box seals with its first key and opens with any. It implements store.Sealer and
// may be used concurrently.
type Box struct{ keys []key }

type key struct {
	id     [idSize]byte
	master []byte
}

var _ store.Sealer = (*Box)(nil)

// New returns a Box with at least one key of KeySize bytes.
func New(keys ...[]byte) (*Box, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: no key")
	}
	b := new(Box)
	for _, k := range keys {
		if len(k) != KeySize {
			return nil, fmt.Errorf("seal: a key has %d bytes, want %d", len(k), KeySize)
		}
		b.keys = append(b.keys, key{keyID(k), bytes.Clone(k)})
	}
	return b, nil
}

// Random returns a Box with a new key that is kept nowhere: what it seals is lost
// with it.
func Random() *Box {
	b, err := New(newKey())
	if err != nil {
		panic(err) // the key's length is right
	}
	return b
}

func newKey() []byte {
	k := make([]byte, KeySize)
	rand.Read(k) // never fails
	return k
}

// keyID is the name of a key in what it sealed; it does not give the key away.
func keyID(k []byte) (id [idSize]byte) {
	sum := sha256.Sum256(k)
	copy(id[:], sum[:])
	return id
}

// Seal implements store.Sealer.
func (b *Box) Seal(k store.Key, secret []byte) []byte {
	out := make([]byte, 0, len(secret)+overhead)
	out = append(out, layout)
	out = append(out, b.keys[0].id[:]...)
	return b.keys[0].of(k).Seal(out, nil, secret, nil)
}

// Open implements store.Sealer.
func (b *Box) Open(k store.Key, sealed []byte) ([]byte, error) {
	if len(sealed) < overhead || sealed[0] != layout {
		return nil, ErrDamaged
	}
	id, rest := sealed[1:1+idSize], sealed[1+idSize:]
	known := false
	for i := range b.keys {
		key := &b.keys[i]
		if !bytes.Equal(key.id[:], id) {
			continue
		}
		known = true
		if secret, err := key.of(k).Open(nil, nil, rest, nil); err == nil {
			return secret, nil
		}
	}
	if !known {
		return nil, fmt.Errorf("%w (%x)", ErrNoKey, id)
	}
	return nil, ErrDamaged
}

// of returns the cipher of one record, whose key is an HMAC of the record's name:
// a record's key seals that record only, and few times enough for random nonces
// (NIST SP 800-38D 8.3: 2^32), however many records there are.
func (k *key) of(r store.Key) cipher.AEAD {
	m := hmac.New(sha256.New, k.master)
	name := make([]byte, 0, len(r.Owner)+len(r.Name)+2)
	name = append(name, byte(r.Kind))
	name = append(name, r.Owner...)
	name = append(name, 0) // owners have none: it separates them from names in the store, too
	m.Write(append(name, r.Name...))
	block, err := aes.NewCipher(m.Sum(nil))
	if err != nil {
		panic(err) // SHA-256 makes a key of 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return aead
}
