package cwmp_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/mappings"
)

// TestStandardSecrets: what TR-181 declares hidden or secured is told by its name, and of
// all other parameters very few are.
func TestStandardSecrets(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(mappings.Device2))
	if err != nil {
		t.Fatal(err)
	}
	declared, taken := 0, 0
	for lines := bufio.NewScanner(z); lines.Scan(); {
		columns := strings.Split(lines.Text(), "\t")
		if columns[0] != "param" || strings.HasPrefix(columns[1], "Device.LocalAgent.") { // the agent's own: no CPE has it
			continue
		}
		secret := cwmp.Path(columns[1]).NamesSecret()
		if strings.Contains(columns[10], "secured") || strings.Contains(columns[10], "hidden") {
			if declared++; !secret {
				t.Errorf("%s is a secret, and not told", columns[1])
			}
		} else if secret {
			taken++
		}
	}
	if declared < 20 || taken > 30 {
		t.Errorf("%d are declared secrets, %d others are taken for some; want some and few", declared, taken)
	}
}
