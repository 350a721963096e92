package digest

import "strings"

// Scheme is one challenge or one set of credentials: a scheme in lower case,
// the token that followed it (basic credentials), and its parameters with names
// in lower case and values unquoted.
type Scheme struct {
	Name   string
	Token  string
	Params map[string]string
}

const maxParams = 32 // a challenge has at most nine; more is noise

// Parse reads the value of a WWW-Authenticate or Authorization header. One
// header may hold several challenges (RFC 7235 4.1). It never fails: what cannot
// be understood is left out, since CPE write quotes, commas and blanks freely.
func Parse(header string) []Scheme {
	var out []Scheme
	rest := header
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return out
		}
		word := token(rest)
		if word == "" { // a stray sign: skip it
			rest = rest[1:]
			continue
		}
		after := strings.TrimLeft(rest[len(word):], " \t")
		if strings.HasPrefix(after, "=") && len(out) > 0 && !isToken68(after) {
			value, tail := value(strings.TrimLeft(after[1:], " \t"))
			rest = tail
			last := &out[len(out)-1]
			if len(last.Params) < maxParams {
				last.Params[strings.ToLower(word)] = value
			}
			continue
		}
		s := Scheme{Name: strings.ToLower(word), Params: map[string]string{}}
		rest = after
		if s.Name == "basic" || s.Name == "bearer" || s.Name == "negotiate" {
			s.Token, rest = token68(after)
		}
		out = append(out, s)
	}
}

// token returns the leading token of s: everything up to a blank or separator.
func token(s string) string {
	if i := strings.IndexAny(s, " \t,=\""); i >= 0 {
		return s[:i]
	}
	return s
}

// isToken68 tells the padding of base64 ("==") from "name=value".
func isToken68(s string) bool { return strings.HasPrefix(s, "==") }

// token68 returns the credentials after "Basic", if what follows is not
// name=value.
func token68(s string) (tok, rest string) {
	end := strings.IndexAny(s, " \t,\"")
	if end < 0 {
		end = len(s)
	}
	word := s[:end]
	if eq := strings.IndexByte(word, '='); eq >= 0 && strings.Trim(word[eq:], "=") != "" {
		return "", s
	}
	if end < len(s) && (s[end] == '"' || strings.HasPrefix(strings.TrimLeft(s[end:], " \t"), "=")) {
		return "", s // realm="…" or realm = "…"
	}
	return word, s[end:]
}

// value reads a token or a quoted-string and returns what follows it.
func value(s string) (v, rest string) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexByte(s, ','); i >= 0 {
			return strings.TrimSpace(s[:i]), s[i:]
		}
		return strings.TrimSpace(s), ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), "" // the closing quote is missing
}
