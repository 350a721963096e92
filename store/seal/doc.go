// Package seal implements store.Sealer: the secrets of devices and controllers
// are encrypted before they reach the store. It knows records only by their keys
// and nothing of what the secrets are for.
//
// The key is in a file beside the store (or, for a store of many nodes, in a file
// that all of them have): one key a line, 32 bytes in base64. New secrets are
// sealed with the first; the others only open older ones, so that a new key is
// brought in by writing it above the old. The record {Meta, "seal", "check"}
// tells at the start whether the key is the one that this store was sealed with.
//
// Store seals whole records of chosen kinds on their way into another store, so
// that whatever secret is in them, in a parameter tree, in a request's arguments,
// is not readable there.
//
// What is sealed is, byte by byte: the version of this layout (0xF1); the first 4
// bytes of SHA-256 over the key, to find it by; 12 bytes of nonce; AES-256-GCM's
// ciphertext with its tag of 16 bytes. Each record has an AES key of its own,
// derived from the key and the record's kind, owner and name; so nothing opens in
// another record's place.
package seal
