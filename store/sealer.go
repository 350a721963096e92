package store

// Sealer encrypts secrets, so that whoever gets hold of the store without its
// key cannot read them. Package seal has the implementation.
//
// A secret is sealed for one record: it opens under no other key, so that a
// sealed secret copied from one device's record into another's is of no use.
// Sealing the same secret twice gives different bytes: compare what Open returns.
type Sealer interface {
	// Seal returns the encrypted secret. It cannot fail.
	Seal(k Key, secret []byte) []byte
	// Open returns what was sealed. It fails if the bytes are damaged, were
	// sealed for another record, or with a key that is not there.
	Open(k Key, sealed []byte) ([]byte, error)
}
