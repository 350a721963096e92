package credential_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp/credential"
)

// read reads a whole file: what it has, one text an entry or error.
func read(t testing.TB, name, text string) (got []string) {
	t.Helper()
	r, err := credential.NewReader(name, strings.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	for {
		e, line, err := r.Next()
		var broken *credential.LineError
		switch {
		case errors.Is(err, io.EOF):
			return got
		case errors.As(err, &broken):
			got = append(got, err.Error())
		case err != nil:
			return append(got, "end: "+err.Error())
		default:
			got = append(got, fmt.Sprintf("%d %s %s %s", line, e.Scope, e.Username, e.Password))
		}
	}
}

func TestRead(t *testing.T) {
	const columns = "device, oui, product_class, serial_number, username, password"
	tests := []struct {
		name, file, text string
		want             []string
	}{
		{"csv", "a.csv", "oui,product_class,serial_number,username,password\n00259e,HG 8245,A-1,cpe,s3cret\n\n*,*,4857*,u,p\n", []string{
			"2 00259E-HG%208245-A%2D1 cpe s3cret", "4 *-*-4857* u p"}},
		{"csv of a spreadsheet", "a.csv", "\xef\xbb\xbfSerial_Number;Username;Password\r\nA1;cpe;\"semi;colon \"\"quoted\"\"\"\r\n", []string{
			`2 *-*-A1 cpe semi;colon "quoted"`}},
		{"csv with device keys", "a.csv", "password,device,username\np,00259E-HG%2D1-A?,{oui}-{serial}", []string{
			"2 00259E-HG%2D1-A? {oui}-{serial} p"}},
		{"csv, an empty product class is not any", "a.csv", "oui,product_class,serial_number,username,password\n00259E,,A,u,p\n", []string{"2 00259E--A u p"}},
		{"csv, one bad line does not hide the others", "a.csv", "device,username,password\nA,u,p\n*-*-1,u\n*-*-2,\"u,p\n*-*-3,u,p\n*-*-4,,p\n*-*-5,u,\n", []string{
			`a.csv:2: "A" is not OUI-PRODUCTCLASS-SERIALNUMBER; a dash inside a part is written %2D, * stands for any text`,
			"a.csv:3: 2 values for 3 columns", `a.csv:4: column 11: extraneous or missing " in quoted-field`, "5 *-*-3 u p",
			"a.csv:6: there is no user name", "a.csv:7: there is no password"}},
		{"csv without a head", "a.csv", "s3cret,00259E-X-1\n", []string{"a.csv:1: column 1 has no known name; the first line names the columns: " + columns}},
		{"csv without a password", "a.csv", "device,username\n", []string{"a.csv:1: there is no column password; the first line names the columns: " + columns}},
		{"csv, a column twice", "a.csv", "device,username,password,Device\n", []string{"a.csv:1: column device is there twice"}},
		{"empty", "a.csv", "", []string{"a.csv:1: the file is empty"}},
		{"csv, a line without end", "a.csv", "device,username,password\n" + strings.Repeat("x", 9000) + "\n*-*-1,u,p\n", []string{
			"end: a.csv:2: a line of more than 8192 bytes"}},
		{"csv, no serial number", "a.csv", "oui,username,password\n00259E,u,p\n", []string{"a.csv:2: there is no serial_number; write * for any"}},
		{"csv, both forms", "a.csv", "device,oui,username,password\n*-*-1,00259E,u,p\n", []string{
			"a.csv:2: give either device or oui, product_class and serial_number"}},
		{"csv, unknown placeholder", "a.csv", "device,username,password\n*-*-1,{mac},p\n", []string{
			"a.csv:2: user name: only {oui}, {product_class} and {serial} can stand in braces"}},
		{"csv, too long", "a.csv", "device,username,password\n*-*-1,u," + strings.Repeat("p", 257) + "\n*-*-" + strings.Repeat("s", 200) + ",u,p\n", []string{
			"a.csv:2: user name and password may have 256 bytes each", "a.csv:3: OUI, product class and serial number may have 64 characters each"}},

		{"yaml", "a.yml", "# all of them\n---\n- device: 00259E-HG8245A-A\n  username: cpe # ours\n  password: \"s3#cret\"\n\n- {serial_number: 0012, username: u, password: 0x10}\n", []string{
			"3 00259E-HG8245A-A cpe s3#cret", "7 *-*-0012 u 0x10"}},
		{"yaml, a dash alone", "a.yaml", "-\n  device: '*-*-1'\n  username: u\n  password: p\n", []string{"1 *-*-1 u p"}},
		{"yaml, one bad item does not hide the others", "a.yaml",
			"- device: '*-*-1'\n  usrname: u\n- just text\n- device: '*-*-2'\n  username: u\n  password: *s3cret\n- username: [u]\n- device: '*-*-3'\n  username: u\n  password: p\n", []string{
				"a.yaml:1: key \"usrname\" is not known; there are " + columns,
				"a.yaml:3: want an item with keys and values; put values with signs in them into quotes",
				"a.yaml:4: want an item with keys and values; put values with signs in them into quotes",
				"a.yaml:7: username: want one value", "8 *-*-3 u p"}},
		{"yaml, a mapping", "a.yaml", "acs-user: {password: s3cret}\n", []string{
			"end: a.yaml:1: want a list of items, each beginning with a dash at the beginning of a line"}},
		{"yaml, an item without end", "a.yaml", "- device: x\n" + strings.Repeat("  # "+strings.Repeat("x", 1000)+"\n", 20), []string{
			"end: a.yaml:18: an item of more than 16384 bytes"}},
		{"another kind", "a.txt", "", []string{"a.txt: name the file .csv or .yaml, for what it has in it"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := read(t, tt.file, tt.text)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			for _, line := range got {
				if strings.HasPrefix(line, tt.file) && strings.Contains(line, "s3cret") {
					t.Errorf("an error shows a password: %s", line)
				}
			}
		})
	}
}

// manyLines is an import file of any length that takes no memory.
type manyLines struct {
	head, line string
	left       int
	rest       string
}

func (m *manyLines) Read(b []byte) (int, error) {
	if m.head != "" {
		m.rest, m.head = m.head, ""
	}
	for m.rest == "" {
		if m.left == 0 {
			return 0, io.EOF
		}
		m.left--
		m.rest = fmt.Sprintf(m.line, m.left)
	}
	n := copy(b, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// TestReadMany: a file of many entries is never in memory as a whole.
func TestReadMany(t *testing.T) {
	const entries, heap = 50_000, 16 << 20
	for name, src := range map[string]*manyLines{
		"a.csv":  {head: "serial_number,username,password\n", line: "S%d,cpe,s3cret\n", left: entries},
		"a.yaml": {line: "- {serial_number: S%d, username: cpe, password: s3cret}\n", left: entries / 10},
	} {
		want := src.left
		r, err := credential.NewReader(name, src)
		if err != nil {
			t.Fatal(err)
		}
		n, most := 0, uint64(0)
		var m runtime.MemStats
		for ; ; n++ {
			if _, _, err := r.Next(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if n%10_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		if n != want || most > heap {
			t.Errorf("%s: %d entries with %d bytes of heap, want %d and at most %d", name, n, most, want, heap)
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("device,username,password\n*-*-1,u,p\n")
	f.Add("\xef\xbb\xbfserial_number;username;password\r\nA;\"u\"\"\";p")
	f.Fuzz(func(t *testing.T, text string) { fuzzRead(t, "a.csv", text) })
}

func FuzzReadYAML(f *testing.F) {
	f.Add("- device: '*-*-1'\n  username: u\n  password: p\n")
	f.Add("-\n  &a x: *a\n- !!binary x\n- {a: {b: c}}\n")
	f.Fuzz(func(t *testing.T, text string) { fuzzRead(t, "a.yaml", text) })
}

// fuzzRead: whatever the file, reading ends, and what it gives is valid.
func fuzzRead(t *testing.T, name, text string) {
	r, err := credential.NewReader(name, strings.NewReader(text))
	if err != nil {
		return
	}
	last := 0
	for {
		e, line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if line <= last {
			t.Fatalf("line %d behind line %d", line, last)
		}
		last = line
		if err == nil {
			if bad := e.Check(); bad != nil {
				t.Fatalf("line %d: %+v: %v", line, e, bad)
			}
			if again, err := credential.ParseScope(e.Scope.String()); err != nil || again != e.Scope {
				t.Fatalf("line %d: scope %q is read as %q, %v", line, e.Scope, again, err)
			}
			continue
		}
		var broken *credential.LineError
		if !errors.As(err, &broken) {
			return
		}
	}
}
