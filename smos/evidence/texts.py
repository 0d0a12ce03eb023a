"""The words of evidence.html in English and Spanish. Findings and facts stay in the language they were recorded in."""

from collections.abc import Mapping

LANGUAGES = ("en", "es")

TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("Evidence", "Evidencia"),
    "verdict": ("Verdict", "Veredicto"),
    "PASS": ("PROVEN", "DEMOSTRADO"),
    "FAIL": ("FAILED", "FALLIDO"),
    "NOT_PROVEN": ("NOT PROVEN", "NO DEMOSTRADO"),
    "ERROR": ("HARNESS BROKEN", "ARNÉS AVERIADO"),
    "WAIVED": ("WAIVED", "EXCEPTUADO"),
    "self_test": (
        "Self-test: this run proves the harness, satisfies no control and says nothing about production.",
        "Autoprueba: esta ejecución demuestra el arnés, no satisface ningún control y no dice nada sobre producción.",
    ),
    "production": ("Production: this run speaks about", "Producción: esta ejecución habla de"),
    "unsettled": (
        "The run did not come to its end, so as a whole it proves nothing.",
        "La ejecución no llegó a su fin, así que en conjunto no demuestra nada.",
    ),
    "run": ("Run", "Ejecución"),
    "started": ("Started", "Inicio"),
    "finished": ("Finished", "Término"),
    "valid_until": ("Valid until", "Válida hasta"),
    "set": ("Backup set", "Conjunto de respaldo"),
    "isolation": ("Sandbox", "Entorno aislado"),
    "executed_by": ("Executed by", "Ejecutado por"),
    "approved_by": ("Approved by", "Aprobado por"),
    "nobody": ("not stated", "no indicado"),
    "commit": ("Harness", "Arnés"),
    "modified": ("modified", "modificado"),
    "none": ("none", "ninguno"),
    "checks": ("Checks", "Comprobaciones"),
    "check": ("Check", "Comprobación"),
    "claim": ("Claim", "Afirmación"),
    "waived_until": ("waived until", "exceptuado hasta"),
    "by": ("by", "por"),
    "recovery": ("Recovery", "Recuperación"),
    "measured": ("Measured", "Medido"),
    "objective": ("Objective", "Objetivo"),
    "rto": ("Recovery time (RTO)", "Tiempo de recuperación (RTO)"),
    "rpo": ("Recovery point (RPO)", "Punto de recuperación (RPO)"),
    "of_it_verification": ("of it verification", "de ello, verificación"),
    "not_measured": ("not measured", "no medido"),
    "restored": ("Restored", "Restaurado"),
    "phase": ("Phase", "Fase"),
    "time": ("Time", "Tiempo"),
    "excluded": ("excluded", "excluida"),
    "trend": ("Trend over the runs of this target", "Tendencia en las ejecuciones de este objetivo"),
    "findings": ("Findings", "Hallazgos"),
    "no_findings": ("No finding: every check passed.", "Sin hallazgos: toda comprobación pasó."),
    "what_to_do": ("What to do", "Qué hacer"),
    "language_note": (
        "Findings and facts are shown as they were recorded.",
        "Los hallazgos y los hechos se muestran como fueron registrados, en inglés.",
    ),
    "coverage": ("Evidence for controls", "Evidencia para controles"),
    "coverage_note": (
        "A check is evidence for a part of a control. Whether a control is met is for the auditor to say.",
        "Una comprobación es evidencia de una parte de un control. Si el control se cumple lo dice la auditoría.",
    ),
    "no_coverage": ("A self-test satisfies no control.", "Una autoprueba no satisface ningún control."),
    "control": ("Control", "Control"),
    "state": ("State", "Estado"),
    "required": ("Required", "Requeridas"),
    "executed": ("Executed", "Ejecutadas"),
    "passed": ("Passed", "Pasadas"),
    "failed": ("Failed", "Fallidas"),
    "not_proven": ("Not proven", "No demostradas"),
    "waived": ("Waived", "Exceptuadas"),
    "harness_error": ("Harness error", "Error del arnés"),
    "elsewhere": ("not in this run", "fuera de esta ejecución"),
    "proven_state": ("proven", "demostrado"),
    "waived_state": ("waived", "exceptuado"),
    "not proven_state": ("not proven", "no demostrado"),
    "harness error_state": ("harness error", "error del arnés"),
    "failed_state": ("failed", "fallido"),
    "why": ("Why it is evidence", "Por qué es evidencia"),
    "limits": ("What it does not show", "Qué no muestra"),
    "reasons": ("Reasons and limits", "Razones y límites"),
    "exclusions": ("Not required, excluded", "No requerido, excluido"),
    "faults": ("Every check is seen to fail", "Cada comprobación se ve fallar"),
    "faults_text": ("faults detected", "fallas detectadas"),
    "of": ("of", "de"),
    "no_faults": (
        "The negative controls were not run into this directory (make prove).",
        "Los controles negativos no se ejecutaron en este directorio (make prove).",
    ),
    "artifacts": ("Backups that were inspected", "Respaldos inspeccionados"),
    "facts": ("Facts", "Hechos"),
    "seconds": ("seconds", "segundos"),
}

TITLES_ES: Mapping[str, str] = {
    "DR-01": "Existen respaldos de todo lo declarado, son recientes y no falta ninguno de la programación",
    "DR-02": "Cada artefacto está completo e inalterado",
    "DR-03": "Cada base de datos PostgreSQL declarada se restaura completa, aislada, y es igual a su origen",
    "DR-04": "Cada volumen declarado vuelve, entrada por entrada, con dueños, permisos, enlaces y atributos",
    "DR-05": "Cada servicio declarado da evidencia positiva de salud tras la recuperación",
    "DR-06": "Vault vuelve desde su instantánea: lo abren las partes custodiadas, políticas y accesos funcionan y el"
    " texto cifrado antiguo se descifra",
    "DR-07": "El tiempo y el punto de recuperación, medidos, cumplen sus objetivos",
    "DR-08": "Los respaldos se conservan durante el período de retención, ni menos ni más",
}
"""Titles in Spanish; a check without one is shown with its English title."""


def texts(language: str) -> dict[str, str]:
    """Return every text in `language`."""
    return {key: pair[LANGUAGES.index(language)] for key, pair in TEXTS.items()}
