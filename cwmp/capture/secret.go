package capture

import (
	"regexp"
	"strings"
	"unicode"
)

// Mask stands for a secret, of whatever length it was.
const Mask = "********"

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

// secretName reports whether what a parameter or argument of that name holds is a
// secret. Of a path the last part decides; of a part that says nothing, the
// object it is in. User names are none: they say who, and without the password
// open nothing. Anonymising replaces them.
func secretName(path string) bool {
	name := folded(lastPart(path))
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

// lastPart is the last component of a path that is not an instance number.
func lastPart(path string) string {
	path = strings.TrimRight(path, ".0123456789")
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

// assignment finds what a text says of a secret itself: a vendor's whole
// configuration, or a command line, in one value.
var assignment = regexp.MustCompile(`(?i)(pass(word|wd|phrase|code)?|pwd|secret|psk|token|(api|auth|enc|priv|private|shared|wep)[_-]?key|community)["']?\s*[=:]\s*\S`)

// tellsSecret reports whether a text has such an assignment in it.
func tellsSecret(text []byte) bool {
	for _, c := range text {
		if c == '=' || c == ':' {
			return assignment.Match(text)
		}
	}
	return false
}

// The parts of a URL that let somebody in.
var (
	userinfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)\S*@`) // up to the last @: passwords have "@" and "/" in them
	sipPassword = regexp.MustCompile(`(?i)(\bsips?:[^\s:@]+:)\S*@`)
	queryPart   = regexp.MustCompile(`([?&](?:amp;)?)([^=&?#\s]+)=([^&#\s]*)`)
)

// maskURLs masks the user names and passwords of the URLs in a text, and of their
// queries the values whose names say secret, or all.
func maskURLs(text string, allQueries bool) string {
	if strings.Contains(text, "@") {
		text = sipPassword.ReplaceAllString(text, "${1}"+Mask+"@")
		text = userinfo.ReplaceAllString(text, "${1}"+Mask+"@")
	}
	if !strings.Contains(text, "://") || !strings.Contains(text, "?") {
		return text
	}
	return queryPart.ReplaceAllStringFunc(text, func(part string) string {
		m := queryPart.FindStringSubmatch(part)
		if m[3] == "" || !allQueries && !secretQuery(m[2]) {
			return part
		}
		return m[1] + m[2] + "=" + Mask
	})
}

// secretQuery tells the names of query values that let somebody in, signatures of
// presigned URLs among them.
func secretQuery(name string) bool {
	name = folded(name)
	return secretName(name) || strings.Contains(name, "sig") || strings.Contains(name, "auth") || strings.Contains(name, "pass")
}

// isTruth tells the values of booleans: they are no secrets, whatever their name.
func isTruth(text string) bool {
	switch strings.ToLower(text) {
	case "", "0", "1", "true", "false":
		return true
	}
	return false
}
