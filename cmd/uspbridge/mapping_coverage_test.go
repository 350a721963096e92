package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
)

// simulatedModels are the device trees of the simulated CPE.
var simulatedModels = []string{"tr098.csv", "tr181.csv"}

func modelFile(name string) string {
	return filepath.Join("..", "..", "cwmp", "cpesim", "models", name)
}

// TestDocumentedCoverage: docs/coverage.md says of the simulated CPE what the program
// says.
func TestDocumentedCoverage(t *testing.T) {
	page, err := os.ReadFile("../../docs/coverage.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range simulatedModels {
		r, err := fileCoverage(modelFile(model), "")
		if err != nil {
			t.Fatal(err)
		}
		if row := coverageRow("`"+model+"`", r); !strings.Contains(string(page), row) {
			t.Errorf("docs/coverage.md has no row\n%s", row)
		}
	}
}

// coverageRow is a row of the page's tables of devices.
func coverageRow(device string, r console.Report) string {
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %.1f %% |\n", device, r.Total, r.Standard, r.Vendor, r.Raw, r.Share(r.Standard))
}

// BenchmarkCoverage tells with the time it takes what share of the simulated CPE's
// parameters has which home.
func BenchmarkCoverage(b *testing.B) {
	for _, model := range simulatedModels {
		b.Run(strings.TrimSuffix(model, ".csv"), func(b *testing.B) {
			var r console.Report
			for b.Loop() {
				var err error
				if r, err = fileCoverage(modelFile(model), ""); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(r.Share(r.Standard), "%standard")
			b.ReportMetric(r.Share(r.Vendor), "%vendor")
			b.ReportMetric(r.Share(r.Raw), "%raw")
			b.ReportMetric(float64(r.Total), "parameters")
		})
	}
}

// TestGuide: docs/mapping-guide.md shows what the commands print of its own overlay and
// the simulated CPE.
func TestGuide(t *testing.T) {
	const guide = "../../docs/mapping-guide.md"
	page, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, b := range blocks(t) {
		if b.file == guide && strings.HasPrefix(b.text, "mapping: example-hg100\n") {
			if err := os.WriteFile(filepath.Join(dir, "example-hg100.yaml"), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	router := identified(t, modelFile("tr098.csv"))
	for _, c := range []struct {
		lines int // of the output, that the guide has
		args  []string
	}{
		{5, []string{"mapping", "coverage", router}},
		{5, []string{"mapping", "coverage", router, "--mappings", dir}},
		{1, []string{"mapping", "test", dir}},
		{0, []string{"mapping", "check", dir, "--device", router}},
	} {
		got := runApp(t.Context(), nil, c.args...)
		shown := strings.Join(strings.SplitAfter(got.stdout, "\n")[:c.lines], "")
		if got.code != 0 || !strings.Contains(string(page), shown) {
			t.Errorf("%v: exit %d, and the guide has not\n%s%s", c.args, got.code, shown, got.stderr)
		}
	}
}

// identified returns a copy of a model's file that says which device it is of, as a
// capture does: the guide's overlay is for that device alone.
func identified(t *testing.T, model string) string {
	t.Helper()
	b, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	header, rows, _ := strings.Cut(string(b), "\n")
	file := filepath.Join(t.TempDir(), "box.csv")
	text := header + "\nDeviceID.OUI,false,false,00005E,xsd:string,\nDeviceID.ProductClass,false,false,HG100,xsd:string,\n" + rows
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
