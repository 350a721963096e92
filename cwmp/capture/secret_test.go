package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/mappings"
)

// TestStandardSecrets: what TR-181 declares hidden or secured is masked, and of all
// other parameters very few.
func TestStandardSecrets(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(mappings.Device2))
	if err != nil {
		t.Fatal(err)
	}
	declared, masked := 0, 0
	for lines := bufio.NewScanner(z); lines.Scan(); {
		columns := strings.Split(lines.Text(), "\t")
		if columns[0] != "param" || strings.HasPrefix(columns[1], "Device.LocalAgent.") { // the agent's own: no CPE has it
			continue
		}
		secret := secretName(columns[1])
		if strings.Contains(columns[10], "secured") || strings.Contains(columns[10], "hidden") {
			if declared++; !secret {
				t.Errorf("%s is a secret, and not masked", columns[1])
			}
		} else if secret {
			masked++
		}
	}
	if declared < 20 || masked > 30 {
		t.Errorf("%d are declared secrets, %d others are masked; want some and few", declared, masked)
	}
}
