package cwmp

import (
	"strings"
	"unicode"
)

// What is a secret is told by names alone: CWMP has no mark for it, and vendors
// have parameters of their own.

// secretWords make a parameter's value a secret wherever they are in its name, in
// any spelling. The standard's secrets are among them (Password, KeyPassphrase,
// PreSharedKey, SharedSecret, SAEPassphrase), and what vendors call theirs.
var secretWords = []string{
	"password", "passwd", "passphrase", "passcode", "passkey", "pwd", "secret", "psk", "presharedkey", "sharedkey",
	"wepkey", "keyvalue", "privatekey", "privkey", "authkey", "encryptionkey", "credential", "token", "voucher",
	"ploam", "loid", // what an ONT shows its OLT
	"community", // SNMP's word for a password
	"cookie", "pincode", "unlockcode", "accesscode", "puk",
}

// secretEnds make it one if the name ends so: vendors' X_…Key, WPS.PIN.
var secretEnds = []string{"key", "keys", "pin", "slid"}

// aboutSecrets are the ends of names of parameters that say something about a
// secret: WEPKeyIndex, PasswordRequired.
var aboutSecrets = []string{
	"enable", "enabled", "index", "length", "status", "state", "interval", "count", "entries", "mode", "type", "algorithm",
	"method", "time", "timeout", "retries", "required", "supported", "policy", "lifetime", "format", "strength",
	"failures", "errors", "attempts", "changes", "requests", "size", "version",
}

// valueNames are names that say nothing: what they hold is told by the object.
var valueNames = []string{"value", "data", "text", "string", "content"}

// NamesSecret reports whether what a parameter or argument of that name holds is a
// secret, as far as its name tells. Of a path the last part decides; of a part that
// says nothing, the object it is in. User names are none: they say who, and without
// the password open nothing.
func (p Path) NamesSecret() bool {
	path := string(p)
	name := folded(p.Leaf())
	for _, v := range valueNames {
		if name == v {
			return holdsSecretWord(folded(path))
		}
	}
	switch name {
	case "parameterkey", "commandkey":
		return false
	}
	if strings.HasSuffix(name, "key") && (strings.Contains(path, ".Layer2Bridging.") || strings.Contains(path, ".QueueManagement.")) {
		return false // TR-098 numbers its filters, queues and interfaces with "keys"
	}
	for _, end := range aboutSecrets {
		if strings.HasSuffix(name, end) {
			return false
		}
	}
	for _, end := range secretEnds {
		if strings.HasSuffix(strings.TrimRight(name, "0123456789"), end) {
			return true
		}
	}
	return holdsSecretWord(name)
}

func holdsSecretWord(name string) bool {
	for _, word := range secretWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// Leaf returns the last component of the path that is not an instance number.
func (p Path) Leaf() string {
	path := strings.TrimRight(string(p), ".0123456789")
	return path[strings.LastIndexByte(path, '.')+1:]
}

// folded is a name in lower case without what separates its words: "Pre-Shared_Key"
// is "presharedkey".
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}
